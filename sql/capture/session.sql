-- What a reading session must know: the epoch of positions, and whether transactions may be prepared
-- (then nobody may ring, because PREPARE TRANSACTION refuses transactions that notify).
select
    rowcast.epoch() as epoch,
    current_setting('max_prepared_transactions')::integer as prepared_transactions_max
