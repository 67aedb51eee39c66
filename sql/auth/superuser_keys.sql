-- What a superuser's tokens are signed with.
-- $1 text  the superuser's id (primary key)
select s.token_key, x.value as secret
from rowcast.superusers s
cross join rowcast.secrets x
where s.id = $1 and x.name = 'superusers.auth_token';
