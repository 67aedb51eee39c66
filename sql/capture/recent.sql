-- The transaction from which on the log still holds everything that those wrote to it which come after it.
-- $1 bigint  rows of the log from there on, at most
-- A slot that was emptied begins with a row that says which was the newest transaction in it, at the very first place; where the
-- log was started anew, nothing is known of those before that row's own.
-- Index used: changes_*_xid, backwards.
select greatest(
    1::bigint,
    (select c.xid::text::bigint + 1 from rowcast.changes c order by c.xid desc offset $1 limit 1),
    (
        select max(case when c.new ~ '^[0-9]+ ' then split_part(c.new, ' ', 1) else c.xid::text end::bigint) + 1
        from rowcast.changes c
        where c.ctid = '(0,1)' and c.op = 'R'
    )
) as xid
