"""What an operator types: outbox_dlq, outbox_stats, outbox_prune."""
