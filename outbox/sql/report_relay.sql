-- A sign of life; and how many relays of this destination have given one lately, and how many of its
-- lanes are free. Locks: its own row
-- first, and then those of relays that are long gone, unless somebody has them: where the database
-- was away all are, and come back together.
WITH mine AS (
    INSERT INTO outbox_relays AS r (destination, owner, wakes_by, breaker, breaker_since,
                                    breaker_error)
    VALUES (%(destination)s, %(owner)s, %(wakes_by)s, %(breaker)s::text,
            CASE WHEN %(breaker)s::text = 'OPEN' THEN clock_timestamp() END, %(breaker_error)s::text)
        ON CONFLICT (destination, owner) DO UPDATE
       SET seen_at = clock_timestamp(), wakes_by = excluded.wakes_by, breaker = excluded.breaker,
           breaker_since = CASE WHEN excluded.breaker = 'OPEN'
                                THEN coalesce(r.breaker_since, clock_timestamp()) END,
           breaker_error = excluded.breaker_error
    RETURNING id
), gone AS (
    DELETE FROM outbox_relays
     WHERE id = ANY(ARRAY(
               SELECT id FROM outbox_relays
                WHERE destination = %(destination)s AND owner <> %(owner)s
                  AND seen_at < clock_timestamp() - %(seconds)s * interval '10 seconds'
                  AND EXISTS (SELECT FROM mine)
                  FOR UPDATE SKIP LOCKED))
)
SELECT 1 + (SELECT count(*) FROM outbox_relays
             WHERE destination = %(destination)s AND owner <> %(owner)s
               AND seen_at > clock_timestamp() - %(seconds)s * interval '1 second'),
       (SELECT count(*) FROM outbox_lanes
         WHERE destination = %(destination)s
           AND (leased_until IS NULL OR leased_until < clock_timestamp()))
