-- Give leases back before their time: the sagas are due at once.
UPDATE sagas AS s
   SET lease_owner = NULL, lease_until = NULL, due_at = clock_timestamp(),
       updated_at = clock_timestamp()
  FROM unnest(%(ids)s::uuid[], %(epochs)s::bigint[]) AS h (id, epoch)
 WHERE s.id = h.id AND s.lease_epoch = h.epoch AND s.lease_owner IS NOT NULL
