-- Where a fresh reader starts: behind everything that has ended.
select pg_current_snapshot()::text as snapshot
