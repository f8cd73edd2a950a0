-- Write down what was decided about sagas that are still ours: the sagas, their steps, attempts and
-- audit, as JSON arrays of rows. Returns the sagas that were written, and what was asked of them.
-- A saga that is let go while somebody asks for something is due at once; and one that was to end
-- as completed does not, if somebody has cancelled it while its last step ran.
-- Locks: the sagas in their order, and then what belongs to them.
WITH asked AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(sagas)s::jsonb) AS c (
        id uuid, epoch bigint, state text, outcome text, error text, incident text,
        due_at timestamptz, held boolean, past boolean, pause timestamptz, cancel timestamptz,
        deadline timestamptz, lost int)
), locked AS MATERIALIZED (
    SELECT c.*, c.outcome = 'COMPLETED' AND NOT c.past
                AND s.cancel_requested_at IS DISTINCT FROM c.cancel AS late
      FROM asked AS c
      JOIN sagas AS s ON s.id = c.id AND s.lease_epoch = c.epoch AND s.lease_owner IS NOT NULL
     ORDER BY s.id
       FOR NO KEY UPDATE OF s
), mine AS (
    UPDATE sagas AS s
       SET state = CASE WHEN c.late THEN s.state ELSE c.state END,
           outcome = CASE WHEN c.late THEN NULL ELSE c.outcome END,
           error_message = c.error,
           incident = c.incident,
           lost_leases = c.lost,
           lease_owner = CASE WHEN c.held THEN s.lease_owner END,
           lease_until = CASE WHEN c.held
                              THEN clock_timestamp() + make_interval(secs => %(seconds)s) END,
           due_at = CASE
               WHEN c.held THEN clock_timestamp() + make_interval(secs => %(seconds)s)
               WHEN c.outcome IS NOT NULL AND c.late IS NOT TRUE THEN NULL
               WHEN s.pause_requested_at IS DISTINCT FROM c.pause
                 OR s.cancel_requested_at IS DISTINCT FROM c.cancel
                 OR s.deadline_at IS DISTINCT FROM c.deadline THEN clock_timestamp()
               ELSE c.due_at END,
           completed_at = CASE WHEN c.outcome IS NOT NULL AND c.late IS NOT TRUE
                               THEN clock_timestamp() END,
           updated_at = clock_timestamp()
      FROM locked AS c
     WHERE s.id = c.id
    RETURNING s.id, s.state, s.outcome, s.pause_requested_at, s.cancel_requested_at, s.deadline_at
), stepped AS (
    UPDATE saga_steps AS t
       SET state = c.state, input_data = coalesce(c.input, t.input_data), output_data = c.output, compensation_data = c.undone,
           error_message = c.error, retry_count = c.retry_count,
           compensation_attempts = c.compensation_attempts, verifications = c.verifications,
           waits = c.waits, started_at = c.started_at, completed_at = c.completed_at,
           due_at = c.due_at, timeout_at = c.timeout_at, deadline_at = c.deadline_at,
           updated_at = clock_timestamp()
      FROM jsonb_to_recordset(%(steps)s::jsonb) AS c (
               saga_id uuid, id uuid, state text, input jsonb, output jsonb, undone jsonb, error text,
               retry_count int, compensation_attempts int, verifications int, waits int,
               started_at timestamptz, completed_at timestamptz, due_at timestamptz,
               timeout_at timestamptz, deadline_at timestamptz)
      JOIN mine ON mine.id = c.saga_id
     WHERE t.id = c.id
), attempts AS MATERIALIZED (
    SELECT c.* FROM jsonb_to_recordset(%(attempts)s::jsonb) AS c (
               saga_id uuid, step_id uuid, direction text, number int, epoch bigint,
               started_at timestamptz, finished_at timestamptz, error_class text, error text)
      JOIN mine ON mine.id = c.saga_id
), begun AS (
    INSERT INTO saga_step_attempts (step_id, direction, number, lease_epoch, runner, started_at,
                                    finished_at, error_class, error_message)
    SELECT step_id, direction, number, epoch, %(owner)s, started_at, finished_at, error_class, error
      FROM attempts WHERE started_at IS NOT NULL
), finished AS (
    UPDATE saga_step_attempts AS t
       SET finished_at = a.finished_at, error_class = a.error_class, error_message = a.error
      FROM attempts AS a
     WHERE a.started_at IS NULL AND t.step_id = a.step_id AND t.direction = a.direction
       AND t.number = a.number AND t.finished_at IS NULL
), told AS (
    INSERT INTO saga_audit_events (id, saga_id, event_type, step_name, message, payload,
                                   occurred_at)
    SELECT gen_random_uuid(), c.saga_id, c.type, c.step, c.message, c.payload,
           statement_timestamp() + c.place * interval '1 microsecond'
      FROM jsonb_to_recordset(%(events)s::jsonb) AS c (
               saga_id uuid, type text, step text, message text, payload jsonb, place int)
      JOIN mine ON mine.id = c.saga_id
     WHERE c.type <> 'SAGA_COMPLETED' OR mine.outcome IS NOT NULL
), unlocked AS (
    DELETE FROM saga_locks AS l USING mine
     WHERE l.saga_id = mine.id AND mine.outcome IS NOT NULL
       AND mine.outcome <> 'COMPENSATION_FAILED'
)
SELECT id, pause_requested_at, cancel_requested_at, deadline_at, clock_timestamp() FROM mine
