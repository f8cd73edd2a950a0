-- Store one event when its aggregate's turn has come, and wake the relay of its lane if it sleeps.
-- Locks: the lane shared and then the aggregate alone, until the transaction ends (Note [Turns]).
-- What is done stands in migration 0019.
SELECT outbox_publish(%(id)s, %(aggregate_id)s, %(aggregate_type)s, %(event_type)s,
                      %(event_version)s, %(payload)s, %(metadata)s, %(idempotency_key)s,
                      %(aggregate_key)s, %(destination)s, %(in_turn)s)
