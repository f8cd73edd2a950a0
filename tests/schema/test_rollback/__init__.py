"""The way back itself: all or nothing, on record, and nothing lost that nobody allowed."""
