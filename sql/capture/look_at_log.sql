-- Whether there is room below the log for more, and how large it is.
-- $1 bigint   its size at the last look
-- $2 boolean  ask for room however little it has grown since
select room, bytes from rowcast.look_at_log($1, $2)
