-- Our schema, and what this role may do in it. Asked of the system's catalogs, which all may read.
select n.oid is not null as schema_exists,
       coalesce(pg_get_userbyid(n.nspowner)::text, '') as owner,
       coalesce(has_schema_privilege(n.oid, 'usage'), false) as usage,
       coalesce(pg_has_role(n.nspowner, 'usage'), false) as owned,
       has_database_privilege(current_database(), 'create') as may_create
from (select 1) one
left join pg_namespace n on n.nspname = 'rowcast';
