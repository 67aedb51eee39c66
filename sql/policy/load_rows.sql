-- The whole policy, in the order in which it was written.
--
-- $1 bigint: rows at most. Uses the primary key.
select id, ptype, v0, v1, v2, v3, v4, v5
from rowcast.casbin_rule
order by id
limit $1
