-- The live saga of a kind that has this key.
SELECT id FROM sagas
 WHERE saga_type = %(kind)s AND business_key = %(key)s
   AND state IN ('PENDING', 'IN_PROGRESS', 'COMPENSATING')
