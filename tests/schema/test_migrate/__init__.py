"""``migrate`` as this app extends it: what it records, how it waits, how it ends."""
