"""The tasks that other job queues run."""
