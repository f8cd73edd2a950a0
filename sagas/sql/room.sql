-- How many sagas of a kind are under way. The caller holds the lock of the kind.
SELECT count(*) FROM sagas
 WHERE saga_type = %(kind)s AND state IN ('IN_PROGRESS', 'COMPENSATING')
