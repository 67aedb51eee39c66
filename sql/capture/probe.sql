-- A notification to ourselves, through the same path that a writer's would take.
-- $1 text  what to listen for
select pg_notify('rowcast', 'probe:' || $1)
