-- Each collection, whether its table is still there, and which of its triggers are missing or
-- switched off.
select c.name,
       r.oid is not null as table_exists,
       coalesce(c.relation::text, '') as relation,
       c.attached_oid = c.relation::oid as same_table,
       array(
           select w.owner::text || '.' || w.trigger
           from rowcast.wanted_triggers(c.relation, c.include_replicated) w
           left join pg_trigger g on g.tgrelid = w.owner and g.tgname = w.trigger
               and g.tgfoid = w.function and g.tgenabled <> 'D'
           where r.oid is not null and g.oid is null
           order by 1
       ) as missing
from rowcast.collections c
left join pg_class r on r.oid = c.relation
order by c.name;
