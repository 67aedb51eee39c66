-- Everything that has become visible since a snapshot, with the snapshot that says so.
--
-- One statement, because one statement has one snapshot: that is what makes the cursor exact.
-- $1 text    xmax of the previous snapshot
-- $2 text[]  transactions in progress in the previous snapshot
-- Index used: changes_*_xid, twice per slot, so that a long transaction causes no second scan.
-- Rows: first one with op S whose column new is the snapshot; then whole transactions, each placed by
-- its last statement. A transaction that waited for another's row lock stands behind it, because
-- it ended a statement after the other had committed.
select
    0::bigint as xid, null::pg_lsn as transaction_end, '0/0'::pg_lsn as lsn, 0 as n, 0 as collection,
    'S'::"char" as op, null::text as old, pg_current_snapshot()::text as new
union all
select
    c.xid::text::bigint, max(c.lsn) over (partition by c.xid), c.lsn, c.n, c.collection, c.op, c.old, c.new
from (
    select xid, lsn, n, collection, op, old, new from rowcast.changes where xid >= $1::text::xid8
    union all
    select xid, lsn, n, collection, op, old, new from rowcast.changes where xid = any ($2::text[]::xid8[])
) c
order by transaction_end nulls first, xid, lsn, n
