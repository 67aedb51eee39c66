-- A superuser as PocketBase shows one.
-- $1 text  the superuser's id (primary key)
select json_build_object(
    'collectionId', 'pbc_3142635823', 'collectionName', '_superusers',
    'created', to_char(created at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.MS"Z"'),
    'email', email, 'emailVisibility', false, 'id', id,
    'updated', to_char(created at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.MS"Z"'),
    'verified', true)::text as record
from rowcast.superusers
where id = $1;
