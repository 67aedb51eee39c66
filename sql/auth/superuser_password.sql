-- A superuser by its email, with the hash of its password if it has one.
-- $1 text  email (unique index)
select s.id, p.value as password
from rowcast.superusers s
left join rowcast.secrets p on p.name = 'superuser_password.' || s.id
where s.email = $1;
