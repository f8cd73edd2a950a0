"""``schema_plan``: what it says of whole migrations, and that it does none of it."""
