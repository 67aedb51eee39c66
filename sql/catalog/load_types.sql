-- The types in use, with what domains stand on and what arrays hold.
-- $1 oid[]  the types
with recursive used (oid) as (
    select unnest($1::oid[])
    union
    select inner_type
    from used
    join pg_type t using (oid)
    cross join lateral (values (t.typbasetype), (t.typelem)) i (inner_type)
    where inner_type <> 0
)
select
    -- Qualified whatever the search_path. With -1, because "character" alone is one character.
    t.oid, case n.nspname when 'pg_catalog' then format_type(t.oid, -1) else format('%I.%I', n.nspname, t.typname) end as name,
    t.typtype::text as typtype, t.typcategory::text as category, t.typelem as element, t.typbasetype as base,
    exists (
        select from pg_cast c
        where c.castsource = t.oid and c.casttarget = 'json'::regtype and c.castmethod = 'f'
    ) as casts_to_json
from used
join pg_type t using (oid)
join pg_namespace n on n.oid = t.typnamespace
