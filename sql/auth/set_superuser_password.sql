-- Gives a superuser a password, and a new token key where it had another: tokens from before end.
-- $1 text  the superuser's id, $2 text  the password's hash, $3 text  the token key if it is new
with old as (
    select value from rowcast.secrets where name = 'superuser_password.' || $1
), kept as (
    insert into rowcast.secrets (name, value) values ('superuser_password.' || $1, $2)
    on conflict (name) do update set value = excluded.value
)
update rowcast.superusers
set token_key = case when exists (select from old) then $3 else token_key end
where id = $1;
