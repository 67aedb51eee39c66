-- A record of an auth collection, what its tokens are signed with, and which changes it shows.
-- $1 text  the collection's id, $2 text  a column, or null for the key, $3 text  its value
select r.image, r.password, r.token_key, s.value as secret, pg_current_snapshot()::text as snapshot
from rowcast.auth_record($1, $2, $3) r
left join rowcast.secrets s on s.name = 'auth_token.' || $1
limit 2;
