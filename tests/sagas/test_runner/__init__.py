"""Runners over connections of their own, several of them, with time and databases that fail."""
