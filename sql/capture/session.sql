-- What a reading session must know: the epoch of positions, and whether transactions may be prepared
-- (then nobody may ring, because PREPARE TRANSACTION refuses transactions that notify). While the log is closed, what it
-- tells is not all that happened.
select
    rowcast.epoch() as epoch,
    coalesce(pg_sequence_last_value('rowcast.log_slot'), 0) = 0 as is_closed,
    current_setting('max_prepared_transactions')::integer as prepared_transactions_max
