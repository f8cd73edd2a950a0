-- A worker of this machine, under the provider ``local``, which is made with the first of them.
-- Returns the provider where it was made now; and nothing where another transaction has just made
-- it, which the next statement sees, or where there is a worker of this id.
WITH made AS (
    INSERT INTO provider_configs (id, name, provider_type, config, status, priority, max_workers)
    VALUES (gen_random_uuid(), 'local', 'process', '{}', 'ACTIVE', 0, 1000)
        ON CONFLICT (name) DO NOTHING
    RETURNING id
), provider AS (
    SELECT id FROM made UNION ALL SELECT id FROM provider_configs WHERE name = 'local' LIMIT 1
)
INSERT INTO workers (id, provider_id, provider_type, provider_resource_id, state, spec, handle,
                     last_heartbeat)
SELECT %(worker)s::uuid, id, 'process', %(resource)s, 'READY', %(spec)s::jsonb, '{}'::jsonb,
       clock_timestamp()
  FROM provider
    ON CONFLICT (id) DO NOTHING
RETURNING (SELECT id FROM made)
