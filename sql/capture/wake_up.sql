-- Tells writers that they need not ring any more.
-- $1 bigint  the value heard
select rowcast.wake_up($1)
