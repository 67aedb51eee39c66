-- What is attached and who may see it. A null rule is locked; several rules of one kind all allow. Rows for
-- some people only, denials and rows for every collection are counted.
select c.name,
       c.id,
       c.relation::text as relation,
       c.hidden,
       c.include_replicated,
       (select string_agg(case r.v3 when '' then '' else r.v3 end, ' || ' order by r.id)
        from rowcast.casbin_rule r
        where r.ptype = 'p' and r.v0 = 'anyone' and r.v1 = c.name and r.v2 = 'list' and r.v4 = 'allow'
       ) as list_rule,
       (select string_agg(r.v3, ' || ' order by r.id)
        from rowcast.casbin_rule r
        where r.ptype = 'p' and r.v0 = 'anyone' and r.v1 = c.name and r.v2 = 'view' and r.v4 = 'allow'
       ) as view_rule,
       (select count(*)
        from rowcast.casbin_rule r
        where r.ptype = 'p' and r.v1 in (c.name, '*')
            and not (r.v0 = 'anyone' and r.v1 = c.name and r.v2 in ('list', 'view') and r.v4 = 'allow')
       ) as other_rows
from rowcast.collections c
order by c.name;
