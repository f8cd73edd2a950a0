-- What prune_inbox would delete. Index: outbox_inbox_received_idx.
SELECT count(*) FROM outbox_inbox WHERE received_at < %(before)s::timestamptz
