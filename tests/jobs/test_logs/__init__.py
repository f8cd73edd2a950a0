"""What jobs write: masked, framed, spooled, stored, tailed, read, and purged."""
