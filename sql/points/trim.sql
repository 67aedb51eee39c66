-- Forgets what was noted too long ago, and the oldest of too many.
--
-- $1 double precision seconds kept, $2 bigint rows kept. Reads the whole table, which is small, and is done rarely.
delete from rowcast.resume_points
where saved_at < now() - make_interval(secs => $1)
   or key in (select key from rowcast.resume_points order by saved_at desc offset $2)
