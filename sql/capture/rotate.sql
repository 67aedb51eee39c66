-- Trims the log if it is time; answers rotated, kept, waiting, busy or closed.
-- $1 double precision  seconds a change is kept
-- $2 bigint            changes kept
-- $3 bigint            bytes kept
select rowcast.rotate(make_interval(secs => $1), $2, $3) as outcome
