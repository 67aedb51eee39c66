-- Makes an auth collection's signing secret unless there is one, and returns what holds.
-- $1 text  the collection's id, $2 text  the secret if it is new
with added as (
    insert into rowcast.secrets (name, value)
    select 'auth_token.' || c.id, $2 from rowcast.collections c where c.id = $1 and c.kind = 'auth'
    on conflict (name) do nothing
    returning value
)
select value from added
union all
select value from rowcast.secrets where name = 'auth_token.' || $1
limit 1;
