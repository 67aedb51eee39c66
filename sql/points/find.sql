-- Up to where subscriptions were told what happened, as far as that is known.
--
-- $1 bytea[] digests; found by the primary key.
select key, position
from rowcast.resume_points
where key = any ($1::bytea[])
