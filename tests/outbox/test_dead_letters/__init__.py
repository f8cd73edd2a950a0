"""What one person does with one dead letter, and two with the same."""
