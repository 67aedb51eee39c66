-- The columns of tables and of their partitions, in the tables' own order.
-- $1 oid[]  the tables
select
    t.root as relation, t.part = t.root as is_root, t.part, a.attnum, a.attname::text as name, a.atttypid as type
from (
    select root, root as part from unnest($1::oid[]) root
    union
    select root, p.relid from unnest($1::oid[]) root, pg_partition_tree(root) p where p.isleaf
) t
join pg_attribute a on a.attrelid = t.part
where a.attnum > 0 and not a.attisdropped
order by t.part, a.attnum
