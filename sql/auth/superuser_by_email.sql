-- The superuser with this email.
-- $1 text  email (unique index)
select id from rowcast.superusers where email = $1;
