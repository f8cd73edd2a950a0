-- Store events in the order of the arrays; those whose key is known are left out of what returns.
INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, event_version, payload,
                           metadata, idempotency_key, aggregate_key, destination)
SELECT *
  FROM unnest(%(ids)s::uuid[], %(aggregate_ids)s::uuid[], %(aggregate_types)s::text[],
              %(event_types)s::text[], %(event_versions)s::int[], %(payloads)s::jsonb[],
              %(metadata)s::jsonb[], %(idempotency_keys)s::text[], %(aggregate_keys)s::text[],
              %(destinations)s::text[])
    ON CONFLICT (idempotency_key) DO NOTHING
RETURNING id
