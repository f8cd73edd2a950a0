-- Give back what was leased to a runner that does not know of it: the answer to its claim was lost.
UPDATE sagas
   SET lease_owner = NULL, lease_until = NULL, due_at = clock_timestamp(),
       updated_at = clock_timestamp()
 WHERE state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
   AND lease_owner = %(owner)s AND id <> ALL(%(ids)s::uuid[])
