-- Whether the log still holds everything that a transaction wrote to it.
-- $1 text  the transaction
-- A slot that was emptied begins with a row that says what it held, at the very first place: no other is read for that.
-- Who was in progress then had written nothing to it.
-- Index used: changes_*_xid.
select
    coalesce(pg_sequence_last_value('rowcast.log_slot'), 0) > 0
    and exists (select from rowcast.changes where xid = $1::text::xid8)
    and not exists (
        select from rowcast.changes c
        where c.ctid = '(0,1)' and c.op = 'R'
            and case when c.new ~ '^[0-9]+ ' then
                split_part(c.new, ' ', 1)::xid8 >= $1::text::xid8
                and pg_visible_in_snapshot($1::text::xid8, split_part(c.new, ' ', 2)::pg_snapshot)
            end) as whole
