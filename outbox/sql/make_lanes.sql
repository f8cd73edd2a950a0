-- The rows that can be leased, once for each destination.
INSERT INTO outbox_lanes (destination, lane)
SELECT %(destination)s, lane FROM generate_series(0, 63) AS l (lane)
    ON CONFLICT (destination, lane) DO NOTHING
