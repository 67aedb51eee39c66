-- What is declared about relations, and which columns an index finds rows by: ordered ones by a value,
-- inverted ones by an element of an array. An index without the rows where its column is null will do.
select c.name,
       array(select e.key from jsonb_each_text(c.relations) e order by e.key) as relation_names,
       array(select e.value from jsonb_each_text(c.relations) e order by e.key) as relation_targets,
       coalesce(array_agg(a.attname::text) filter (where m.amname in ('btree', 'hash') and a.attnum = i.indkey[0]), '{}') as ordered,
       coalesce(array_agg(a.attname::text) filter (where m.amname = 'gin'), '{}') as inverted
from rowcast.collections c
left join pg_index i on i.indrelid = c.relation and i.indisvalid
left join pg_class x on x.oid = i.indexrelid
left join pg_am m on m.oid = x.relam
left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey::smallint[])
    and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', a.attname))
group by c.key, c.name
order by c.name
