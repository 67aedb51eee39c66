-- Whether our schema and refinery's history in it exist. Asked first, because "create … if not
-- exists" demands the right to create even where there is nothing to create. Asked of the system's
-- catalogs, which every role may read.
select exists (select from pg_catalog.pg_namespace where nspname = 'rowcast') as schema_exists,
       exists (
           select from pg_catalog.pg_class c
           join pg_catalog.pg_namespace n on n.oid = c.relnamespace
           where n.nspname = 'rowcast' and c.relname = 'schema_history'
       ) as history_exists;
