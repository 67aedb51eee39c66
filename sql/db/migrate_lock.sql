-- Waits, a minute at most, until nobody else migrates this database, and keeps others out until
-- the session ends. The number is arbitrary and ours: the bytes of "rowcast".
set lock_timeout = '60s';
select pg_advisory_lock(x'00726f7763617374'::bigint);
set lock_timeout = '10s';
