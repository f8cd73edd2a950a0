"""``schema_adopt`` on an app of nobody here: what it shows, does, refuses and leaves."""
