-- Adds a superuser unless there is one with this email; returns a row only if it was added.
-- $1 text  id, $2 text  email, $3 text  token key
insert into rowcast.superusers (id, email, token_key)
values ($1, $2, $3)
on conflict (email) do nothing
returning id;
