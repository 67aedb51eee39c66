-- Which moment a reading shows: the transactions that had ended, in the epoch of the change log.
select pg_current_snapshot()::text as snapshot, rowcast.epoch() as epoch
