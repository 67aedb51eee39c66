-- The columns of tables and of their partitions, in the tables' own order.
-- $1 oid[]  the tables
-- Not pg_partition_tree: it locks the partitions, and this shall wait for nobody and be waited for by nobody.
with recursive tree (root, part) as (
    select root, root from unnest($1::oid[]) root
    union
    select t.root, i.inhrelid
    from tree t
    join pg_class p on p.oid = t.part and p.relkind = 'p'
    join pg_inherits i on i.inhparent = t.part
)
select
    t.root as relation, t.part = t.root as is_root, t.part, a.attnum, a.attname::text as name, a.atttypid as type
from tree t
join pg_class c on c.oid = t.part
join pg_attribute a on a.attrelid = t.part
where (t.part = t.root or c.relkind <> 'p') and a.attnum > 0 and not a.attisdropped
order by t.part, a.attnum
