"""What people decide: each action where it is allowed, and refused where it is not."""
