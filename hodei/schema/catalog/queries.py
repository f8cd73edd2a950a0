"""SQL that reads one schema from PostgreSQL's catalog, 15 to 18. ``%(schema)s`` is its name.

What an extension brought is left out everywhere: its own version decides on it. So is what a
partition has from its parent, and what PostgreSQL itself makes behind a constraint.
"""

from __future__ import annotations


def _not_of_an_extension(catalog: str, oid: str) -> str:
    return (
        f"NOT EXISTS (SELECT FROM pg_depend WHERE classid = '{catalog}'::regclass "
        f"AND objid = {oid} AND deptype = 'e')"
    )


_RELATIONS_OF_SCHEMA = f"""
    SELECT c.oid, c.relname, c.relkind, c.relowner
      FROM pg_class c
     WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND {_not_of_an_extension("pg_class", "c.oid")}
"""

RELATIONS = f"""
WITH found AS ({_RELATIONS_OF_SCHEMA})
SELECT c.relname AS name, c.relkind::text AS kind, c.relpersistence = 'u' AS unlogged,
       c.relrowsecurity AS row_security, c.relforcerowsecurity AS force_row_security,
       coalesce(c.reloptions, '{{}}') AS options, c.relreplident::text AS replica_identity,
       (SELECT quote_ident(ic.relname) FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
         WHERE i.indrelid = c.oid AND i.indisreplident) AS identity_index,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid, true) END
            AS definition,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END AS partition_key,
       CASE WHEN c.relispartition THEN (SELECT p.relname FROM pg_inherits h
          JOIN pg_class p ON p.oid = h.inhparent WHERE h.inhrelid = c.oid) END
            AS parent,
       CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END AS bound,
       obj_description(c.oid, 'pg_class') AS comment, pg_get_userbyid(c.relowner) AS owner,
       ARRAY(SELECT CASE WHEN a.grantee = c.relowner THEN '(owner)' WHEN a.grantee = 0
                    THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END
                    || '=' || a.privilege_type
               FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a ORDER BY 1)
            AS privileges
  FROM found JOIN pg_class c USING (oid)
 ORDER BY c.relname
"""

COLUMNS = f"""
WITH found AS ({_RELATIONS_OF_SCHEMA})
SELECT f.relname AS relation, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS kind,
       NOT a.attnotnull AS nullable, pg_get_expr(d.adbin, d.adrelid, true) AS expression,
       a.attidentity::text AS identity, a.attgenerated::text AS generated,
       CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation THEN
          (SELECT CASE WHEN pg_collation_is_visible(l.oid) THEN ''
                       ELSE quote_ident(n.nspname) || '.' END || quote_ident(l.collname)
             FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
            WHERE l.oid = a.attcollation) END AS collation,
       col_description(a.attrelid, a.attnum) AS comment
  FROM found f
  JOIN pg_attribute a ON a.attrelid = f.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
 ORDER BY f.relname, a.attnum
"""

# NOT IN is hashed: the server has no index on conindid, and a join may be planned as a loop.
INDEXES = f"""
WITH found AS ({_RELATIONS_OF_SCHEMA})
SELECT f.relname AS relation, c.relname AS name, pg_get_indexdef(c.oid, 0, true) AS definition,
       m.amname AS method, i.indisunique AS unique,
       i.indnullsnotdistinct AS nulls_not_distinct, i.indnkeyatts AS key_count,
       i.indisvalid AS valid, i.indisready AS ready,
       pg_get_expr(i.indpred, i.indrelid, true) AS predicate,
       coalesce(c.reloptions, '{{}}') AS options, obj_description(c.oid, 'pg_class') AS comment,
       ARRAY(SELECT pg_get_indexdef(c.oid, k, true)
               FROM generate_series(1, i.indnatts) k ORDER BY k) AS texts,
       string_to_array(i.indkey::text, ' ')::int[] AS numbers,
       string_to_array(i.indoption::text, ' ')::int[] AS orders,
       ARRAY(SELECT CASE WHEN o.opcdefault THEN '' ELSE o.opcname::text END
               FROM unnest(i.indclass) WITH ORDINALITY k (oid, place)
               JOIN pg_opclass o ON o.oid = k.oid ORDER BY k.place) AS classes,
       ARRAY(SELECT CASE WHEN l.oid IS NULL OR l.oid = coalesce(a.attcollation, t.typcollation)
                         THEN '' ELSE quote_ident(l.collname) END
               FROM unnest(i.indcollation) WITH ORDINALITY k (oid, place)
               JOIN pg_attribute own ON own.attrelid = c.oid AND own.attnum = k.place
               JOIN pg_type t ON t.oid = own.atttypid
               LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid
                    AND a.attnum = (string_to_array(i.indkey::text, ' ')::int[])[k.place]
                    AND a.attnum > 0
               LEFT JOIN pg_collation l ON l.oid = k.oid ORDER BY k.place) AS collations
  FROM found f
  JOIN pg_index i ON i.indrelid = f.oid
  JOIN pg_class c ON c.oid = i.indexrelid AND NOT c.relispartition
  JOIN pg_am m ON m.oid = c.relam
 WHERE i.indexrelid NOT IN (SELECT conindid FROM pg_constraint WHERE contype IN ('p', 'u', 'x'))
 ORDER BY f.relname, c.relname
"""

# PostgreSQL 18 lists NOT NULL here as well (contype n); it is a property of the column.
CONSTRAINTS = f"""
WITH found AS ({_RELATIONS_OF_SCHEMA})
SELECT f.relname AS relation, k.conname AS name, k.contype::text AS kind,
       pg_get_constraintdef(k.oid, true) AS definition, k.convalidated AS validated,
       k.condeferrable AS deferrable, k.condeferred AS deferred,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY n (number, place)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = n.number
              ORDER BY n.place) AS columns,
       CASE WHEN t.oid IS NULL THEN NULL WHEN t.relnamespace = %(schema)s::regnamespace
            THEN t.relname::text ELSE t.oid::regclass::text END AS target,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY n (number, place)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = n.number
              ORDER BY n.place) AS target_columns,
       k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update,
       coalesce(i.indisvalid, true) AS index_valid,
       obj_description(k.oid, 'pg_constraint') AS comment
  FROM found f
  JOIN pg_constraint k ON k.conrelid = f.oid AND k.contype IN ('p', 'u', 'c', 'x', 'f')
       AND k.conparentid = 0 AND (k.conislocal OR k.coninhcount = 0)
  LEFT JOIN pg_class t ON t.oid = k.confrelid AND k.contype = 'f'
  LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x')
 ORDER BY f.relname, k.conname
"""

TRIGGERS = f"""
WITH found AS ({_RELATIONS_OF_SCHEMA})
SELECT f.relname AS relation, t.tgname AS name, pg_get_triggerdef(t.oid, true) AS definition,
       t.tgenabled::text AS enabled, obj_description(t.oid, 'pg_trigger') AS comment
  FROM found f
  JOIN pg_trigger t ON t.tgrelid = f.oid AND NOT t.tgisinternal AND t.tgparentid = 0
 ORDER BY f.relname, t.tgname
"""

POLICIES = f"""
WITH found AS ({_RELATIONS_OF_SCHEMA})
SELECT f.relname AS relation, p.polname AS name, p.polcmd::text AS command,
       p.polpermissive AS permissive,
       ARRAY(SELECT CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END
               FROM unnest(p.polroles) r ORDER BY 1) AS roles,
       pg_get_expr(p.polqual, p.polrelid, true) AS using,
       pg_get_expr(p.polwithcheck, p.polrelid, true) AS check
  FROM found f JOIN pg_policy p ON p.polrelid = f.oid
 ORDER BY f.relname, p.polname
"""

SEQUENCES = f"""
SELECT c.relname AS name, format_type(s.seqtypid, NULL) AS kind, s.seqincrement AS increment,
       s.seqmin AS minimum, s.seqmax AS maximum, s.seqcycle AS cycle, t.relname AS table,
       a.attname AS column, d.deptype = 'i' AS is_identity,
       obj_description(c.oid, 'pg_class') AS comment
  FROM pg_class c
  JOIN pg_sequence s ON s.seqrelid = c.oid
  LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
       AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  LEFT JOIN pg_class t ON t.oid = d.refobjid
  LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE c.relnamespace = %(schema)s::regnamespace AND {_not_of_an_extension("pg_class", "c.oid")}
 ORDER BY c.relname
"""

FUNCTIONS = f"""
SELECT p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
       CASE WHEN p.prokind = 'a' THEN '' ELSE pg_get_functiondef(p.oid) END AS definition,
       p.prokind::text AS kind, obj_description(p.oid, 'pg_proc') AS comment
  FROM pg_proc p
 WHERE p.pronamespace = %(schema)s::regnamespace AND {_not_of_an_extension("pg_proc", "p.oid")}
 ORDER BY 1
"""

TYPES = f"""
SELECT t.typname AS name, t.typtype::text AS kind,
       CASE t.typtype
       WHEN 'e' THEN ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid
                            ORDER BY e.enumsortorder)
       WHEN 'd' THEN ARRAY[format_type(t.typbasetype, t.typtypmod)]
            || CASE WHEN t.typnotnull THEN '{{NOT NULL}}'::text[] ELSE '{{}}' END
            || CASE WHEN t.typdefault IS NULL THEN '{{}}' ELSE ARRAY['DEFAULT ' || t.typdefault] END
            || ARRAY(SELECT 'CONSTRAINT ' || quote_ident(k.conname) || ' '
                            || pg_get_constraintdef(k.oid, true)
                       FROM pg_constraint k
                      WHERE k.contypid = t.oid AND k.contype = 'c' ORDER BY k.conname)
       WHEN 'c' THEN ARRAY(SELECT quote_ident(a.attname) || ' '
                                  || format_type(a.atttypid, a.atttypmod)
                             FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
                              AND NOT a.attisdropped ORDER BY a.attnum)
       ELSE ARRAY(SELECT 'SUBTYPE = ' || format_type(r.rngsubtype, NULL)
                    FROM pg_range r WHERE r.rngtypid = t.oid) END AS parts,
       obj_description(t.oid, 'pg_type') AS comment
  FROM pg_type t
 WHERE t.typnamespace = %(schema)s::regnamespace AND t.typtype IN ('e', 'd', 'c', 'r')
   AND (t.typrelid = 0 OR (SELECT relkind FROM pg_class WHERE oid = t.typrelid) = 'c')
   AND {_not_of_an_extension("pg_type", "t.oid")}
 ORDER BY t.typname
"""

EXTENSIONS = "SELECT extname AS name FROM pg_extension ORDER BY extname"

DEFAULT_PRIVILEGES = """
SELECT DISTINCT pg_get_userbyid(d.defaclrole)::text || '|'
       || CASE WHEN a.grantee = d.defaclrole THEN '(owner)' WHEN a.grantee = 0
               THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END
       || '=' || a.privilege_type AS text
  FROM pg_default_acl d, aclexplode(d.defaclacl) a
 WHERE d.defaclobjtype = 'r' AND d.defaclnamespace IN (0, %(schema)s::regnamespace)
 ORDER BY 1
"""
