-- Keys of PROVISIONING sagas that are live, or ended otherwise than well a moment ago.
-- Indexes: sagas_one_live_per_key, idx_sagas_started_at.
SELECT business_key FROM sagas
 WHERE saga_type = 'PROVISIONING' AND business_key IS NOT NULL
   AND state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
 UNION
SELECT business_key FROM sagas
 WHERE saga_type = 'PROVISIONING' AND business_key IS NOT NULL
   AND started_at > clock_timestamp() - interval '1 hour'
   AND completed_at > clock_timestamp() - %(pause)s * interval '1 second'
   AND outcome <> 'COMPLETED'
