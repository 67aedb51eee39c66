-- Gives new partitions the trigger that Postgres does not copy to them.
select rowcast.cover_partitions() as made
