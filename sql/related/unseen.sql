-- Transactions in the change log that a reading sees and somebody else may not know.
-- $1 text    xmax of the snapshot that is known
-- $2 text[]  transactions in progress in it
-- $3 bigint  transactions at most
-- Index used: changes_*_xid, twice per slot.
select c.xid::text as xid, max(c.lsn) as "end"
from (
    select xid, lsn from rowcast.changes where xid >= $1::text::xid8
    union all
    select xid, lsn from rowcast.changes where xid = any ($2::text[]::xid8[])
) c
group by c.xid
limit $3
