"""The executor ``command``: what can be enqueued, how it runs, and how it ends."""
