-- Records of the audit, one for each payload, of one type and by one actor; and an event of each
-- that is about something, where anybody wants it, with the trace of its job. The caller holds what
-- it is about.
WITH given AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(correlation_ids)s::text[], %(payloads)s::jsonb[],
                         %(abouts)s::uuid[]) AS g (id, correlation_id, payload, about)
)/*told , published AS (
    INSERT INTO outbox_events (id, aggregate_id, aggregate_type, event_type, payload, metadata,
                               destination)
    SELECT {id}, about, %(kind)s, %(event_type)s,
           payload || jsonb_build_object('actor', %(actor)s::text),
           CASE WHEN correlation_id IS NOT NULL OR trace_parent IS NOT NULL
                THEN jsonb_strip_nulls(jsonb_build_object('correlation_id', correlation_id,
                                                          'traceparent', trace_parent)) END,
           %(destination)s
      FROM (SELECT given.*, (SELECT j.trace_parent FROM jobs AS j WHERE j.id = given.about)
                              AS trace_parent
              FROM given WHERE about IS NOT NULL) AS g
    RETURNING {wake}
)*/
INSERT INTO audit_logs (id, correlation_id, event_type, payload, occurred_at, actor)
SELECT id, correlation_id, %(event_type)s, payload, clock_timestamp(), %(actor)s FROM given
