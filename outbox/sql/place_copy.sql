-- A copy goes where its original was to go, and in its place where the aggregate still waits there.
UPDATE outbox_events AS e
   SET destination = d.destination,
       seq = CASE WHEN %(in_place)s THEN coalesce(d.seq, e.seq) ELSE e.seq END
  FROM outbox_dlq AS d
 WHERE e.id = %(copy)s AND d.id = %(letter)s
