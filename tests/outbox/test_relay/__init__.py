"""The relay against a real database, with publishers that the test controls."""
