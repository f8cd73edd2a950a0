-- The steps of these sagas, in order.
SELECT saga_id, id, step_name, step_order, state, output_data::text, compensation_data::text,
       error_message, retry_count, compensation_attempts, verifications, waits, started_at, completed_at, due_at,
       timeout_at, deadline_at
  FROM saga_steps WHERE saga_id = ANY(%(ids)s::uuid[]) ORDER BY saga_id, step_order
