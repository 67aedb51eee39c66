-- What a transaction did to the records of one collection, in the order of the log.
-- $1 text     the transaction
-- $2 integer  the collection's key
-- $3 bigint   rows at most
-- Index used: changes_*_xid.
select lsn, op, old, new
from rowcast.changes
where xid = $1::text::xid8 and collection = $2
order by lsn, n
limit $3
