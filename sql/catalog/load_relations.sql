-- Foreign keys of one column between attached tables, in the order in which they count; and, without a target,
-- the columns that are unique by themselves.
select c.key, a.attname::text as field, p.key as target, t.attname::text as target_field, f.conname as constraint_name
from pg_constraint f
join rowcast.collections c on c.relation = f.conrelid
join rowcast.collections p on p.relation = f.confrelid
join pg_attribute a on a.attrelid = f.conrelid and a.attnum = f.conkey[1]
join pg_attribute t on t.attrelid = f.confrelid and t.attnum = f.confkey[1]
where f.contype = 'f' and cardinality(f.conkey) = 1
union all
select c.key, a.attname::text, null, null, null
from pg_index i
join rowcast.collections c on c.relation = i.indrelid
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
where i.indisunique and i.indisvalid and i.indnkeyatts = 1 and i.indpred is null and i.indexprs is null
order by constraint_name, target
