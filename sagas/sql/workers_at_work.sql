-- The queues of the workers that live, or are being made, and give signs of life; NULL is all.
-- Index: idx_workers_state.
SELECT DISTINCT CASE WHEN jsonb_typeof(spec -> 'queues') = 'array'
                      AND jsonb_array_length(spec -> 'queues') > 0
                     THEN spec -> 'queues' END::text
  FROM workers
 WHERE state IN ('CREATING', 'CONNECTING', 'REGISTERED', 'READY', 'BUSY')
   AND NOT coalesce(handle ->> 'gone' = 'true', false)
   AND coalesce(last_heartbeat, created_at) > clock_timestamp()
       - CASE state WHEN 'CREATING' THEN %(making)s ELSE %(silence)s END * interval '1 second'
