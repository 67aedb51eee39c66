-- Notes up to where subscriptions were told what happened.
--
-- $1 bytea[] digests, each once, $2 text[] positions, as many. In the order of the digests, so that two servers that
-- note the same ones wait for each other instead of failing.
insert into rowcast.resume_points (key, position)
select key, position
from unnest($1::bytea[], $2::text[]) as told (key, position)
order by key
on conflict (key) do update
set position = excluded.position, saved_at = now()
