-- The attached tables, their keys and rules. A table that was dropped, or has lost its key, comes
-- without key columns.
--
-- Rules: null is locked. A policy that says more than one plain allow for everybody is not
-- understood here, and what is not understood is locked.
select
    c.key, c.id, c.name,
    coalesce(n.nspname, '') as schema, coalesce(r.relname, c.relation::text) as "table",
    coalesce(r.oid, 0) as relation,
    coalesce(r.relkind = 'p', false) as partitioned,
    case when r.oid is not null then rowcast.key_columns(c.relation) end as key_columns,
    -- Hidden columns go by number, so that renaming moves nothing; by name where the number is no column's
    -- any more, or means nothing because the database was restored.
    array(
        select h.name from unnest(c.hidden, c.hidden_attnums) h (name, number)
        where h.name is not null and (c.attached_oid is distinct from r.oid or not exists (
            select from pg_attribute a
            where a.attrelid = r.oid and a.attnum = h.number and a.attnum > 0 and not a.attisdropped))
    ) as hidden,
    case when c.attached_oid = r.oid then c.hidden_attnums else '{}' end as hidden_attnums,
    array(select e.key from jsonb_each_text(c.relations) e order by e.key) as relation_names,
    array(select e.value from jsonb_each_text(c.relations) e order by e.key) as relation_targets,
    c.kind = 'auth' as is_auth, c.identity, c.password, c.token_key, c.never_captured,
    case when c.never_captured_oid = r.oid then c.never_captured_attnums else '{}' end as never_captured_attnums,
    (select s.xmin::text from rowcast.secrets s where s.name = 'auth_token.' || c.id) as secret_version,
    -- Restored, and a hidden column is not found by its name: which one it was, nobody can tell.
    c.attached_oid <> r.oid and 0 = any (rowcast.column_numbers(c.relation, c.hidden)) as hidden_unknown,
    c.templates ->> 'create' as create_template,
    c.templates ->> 'update' as update_template,
    c.templates ->> 'delete' as delete_template,
    rule.list as list_rule,
    rule.view as view_rule,
    rule.auth as auth_rule,
    rule.manage as manage_rule
from rowcast.collections c
left join pg_class r on r.oid = c.relation
left join pg_namespace n on n.oid = r.relnamespace
cross join lateral (
    select
        max(p.v3) filter (where p.v2 = 'list') as list,
        max(p.v3) filter (where p.v2 = 'view') as view,
        max(p.v3) filter (where p.v2 = 'auth') as auth,
        max(p.v3) filter (where p.v2 = 'manage') as manage
    from (
        select v2, min(v3) as v3
        from rowcast.casbin_rule
        where ptype = 'p' and v0 = 'anyone' and v1 = c.name and v2 in ('list', 'view', 'auth', 'manage') and v4 = 'allow'
        group by v2
        having count(*) = 1
    ) p
    where not exists (
        select from rowcast.casbin_rule d
        where d.ptype = 'p' and d.v1 in (c.name, '*') and d.v2 in (p.v2, '*') and d.v4 <> 'allow')
) rule
