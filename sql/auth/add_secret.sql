-- Makes the superusers' signing secret unless there is one.
-- $1 text  the secret if it is new
insert into rowcast.secrets (name, value)
values ('superusers.auth_token', $1)
on conflict (name) do nothing;
