-- What is offered, and who may see it: collections, the policy, and the functions that define them.

create table rowcast.collections (
    key integer generated always as identity primary key,
    id text not null unique default 'rwc_' || substr(md5(gen_random_uuid()::text), 1, 11),
    name text not null unique check (name ~ '^[A-Za-z_][A-Za-z0-9_]{0,99}$'),
    relation regclass not null unique,
    -- The table's oid when attached: after a restore it differs, and column numbers mean nothing.
    attached_oid oid not null,
    hidden text[] not null default '{}',
    hidden_attnums smallint[] not null default '{}',
    include_replicated boolean not null default false,
    created timestamptz not null default now()
);
comment on table rowcast.collections is 'The attached tables. Change it with rowcast.attach() and rowcast.detach().';
comment on column rowcast.collections.key is 'Names the collection in the change log; never used twice.';
comment on column rowcast.collections.hidden_attnums is
    'The hidden columns by number, in the same order, so that renaming one does not uncover it; 0 for one that is gone.';

-- The layout every casbin adapter shares, so that other casbin tools can manage it beside us.
-- p: v0 subject, v1 collection, v2 list or view, v3 rule ('' is public), v4 allow or deny.
-- g: v0 member, v1 role.
create table rowcast.casbin_rule (
    id bigint generated always as identity primary key,
    ptype text not null,
    v0 text not null default '',
    v1 text not null default '',
    v2 text not null default '',
    v3 text not null default '',
    v4 text not null default '',
    v5 text not null default ''
);
comment on table rowcast.casbin_rule is 'The policy, in casbin''s usual layout. A change reaches open streams at once.';

create trigger catalog_changed after insert or update or delete or truncate on rowcast.collections
    for each statement execute function rowcast.catalog_changed();
create trigger catalog_changed after insert or update or delete or truncate on rowcast.casbin_rule
    for each statement execute function rowcast.catalog_changed();

create table rowcast.superusers (
    id text primary key,
    email text not null unique,
    token_key text not null,
    created timestamptz not null default now()
);
comment on table rowcast.superusers is 'Those who pass every rule. Changing token_key makes their tokens invalid.';

create table rowcast.secrets (
    name text primary key,
    value text not null
);
comment on table rowcast.secrets is 'Keys for signing tokens.';

-- The columns that identify a row: the primary key, else the first unique index that could be one.
create function rowcast.key_columns(relation regclass) returns smallint[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select string_to_array(i.indkey::text, ' ')::smallint[]
    from pg_index i
    where i.indrelid = key_columns.relation
        and i.indisunique and i.indisvalid and (i.indimmediate or i.indisprimary)
        and i.indpred is null and i.indexprs is null
        and i.indnkeyatts = i.indnatts
        and (i.indisprimary or not exists (
            select from pg_attribute a
            where a.attrelid = i.indrelid and a.attnum = any (i.indkey::smallint[]) and not a.attnotnull))
    order by i.indisprimary desc, i.indnatts, i.indexrelid
    limit 1
$$;
comment on function rowcast.key_columns(regclass) is
    'Numbers of the columns that identify a row, or null if nothing does.';

-- Whether a type's text depends on the writer's session (DateStyle, IntervalStyle, TimeZone, bytea_output,
-- search_path).
create function rowcast.needs_pinning(relation regclass) returns boolean
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with recursive used (type, in_key) as (
        -- The key becomes the record's id, which must not depend on the writer's time zone.
        select atttypid, attnum = any (coalesce(rowcast.key_columns(needs_pinning.relation), '{}'))
        from pg_attribute
        where attrelid = needs_pinning.relation and attnum > 0 and not attisdropped
        union
        select inner_type, used.in_key from used
        join pg_type t on t.oid = used.type
        cross join lateral (
            select t.typbasetype where t.typtype = 'd'
            union all select t.typelem where t.typelem <> 0
            union all select r.rngsubtype from pg_range r where t.oid in (r.rngtypid, r.rngmultitypid)
            union all select a.atttypid from pg_attribute a
                where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        ) i (inner_type)
    )
    select exists (
        select from used
        left join pg_range r on used.type in (r.rngtypid, r.rngmultitypid)
        where used.type in ('interval'::regtype, 'bytea'::regtype,
                'regclass'::regtype, 'regcollation'::regtype, 'regconfig'::regtype, 'regdictionary'::regtype,
                'regoper'::regtype, 'regoperator'::regtype, 'regproc'::regtype, 'regprocedure'::regtype,
                'regtype'::regtype)
            or r.rngsubtype in ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
            or used.in_key and used.type = 'timestamptz'::regtype)
$$;
comment on function rowcast.needs_pinning(regclass) is
    'Whether the table has values whose text depends on the writer''s session settings.';

-- Locks a table against writers, in short tries, so that nobody queues behind us for long.
create function rowcast.lock_briefly(relation regclass, mode text, tries integer default 50) returns void
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
begin
    for attempt in 1..tries loop
        begin
            execute format('lock table %s in %s mode', relation, mode);
            return;
        exception
            when lock_not_available then
                perform pg_sleep(case when attempt < tries then 0.02 + random() * 0.1 else 0 end);
            -- The right to create triggers does not hold the right to lock; then the statement that needs
            -- the lock takes it.
            when insufficient_privilege then
                return;
        end;
    end loop;
    raise exception 'rowcast: % is busy: its lock was not free in % tries of 100 ms', relation, tries
        using errcode = 'lock_not_available',
            hint = 'Nothing was changed. Look for long transactions in pg_stat_activity, or try again at a quieter time.';
end $$;
comment on function rowcast.lock_briefly(regclass, text, integer) is
    'Takes a table lock without making writers queue for more than 100 ms at a time.';

-- The triggers a table must have, one row each.
create function rowcast.wanted_triggers(relation regclass, include_replicated boolean)
    returns table (owner regclass, trigger name, event text, function regprocedure)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with target as (
        -- Row triggers serve partitioned tables, and tables that a subscription writes to: logical
        -- replication fires no statement triggers.
        select c.relkind = 'p' or include_replicated as by_row,
            case when rowcast.needs_pinning(c.oid) then '_pinned' else '' end as suffix
        from pg_class c where c.oid = wanted_triggers.relation
    )
    -- The names sort late, so that the user's own triggers run first.
    select wanted_triggers.relation, v.trigger::name, v.event, format('rowcast.%s%s()', v.function, suffix)::regprocedure
    from target, (values
        ('zz_rowcast_insert', 'capture_insert', 'after insert on %s referencing new table as rowcast_new for each statement'),
        ('zz_rowcast_update', 'capture_update',
            'after update on %s referencing old table as rowcast_old new table as rowcast_new for each statement'),
        ('zz_rowcast_delete', 'capture_delete', 'after delete on %s referencing old table as rowcast_old for each statement')
    ) v (trigger, function, event)
    where not by_row
    union all
    select wanted_triggers.relation, 'zz_rowcast_row', 'after insert or update or delete on %s for each row',
        format('rowcast.capture_row%s()', suffix)::regprocedure
    from target where by_row
    union all
    -- TRUNCATE triggers are not copied to partitions, so each gets its own.
    select part, 'zz_rowcast_truncate', 'before truncate on %s for each statement', 'rowcast.capture_truncate()'::regprocedure
    from (
        select wanted_triggers.relation as part
        union
        select t.relid from pg_partition_tree(wanted_triggers.relation) t
    ) parts
$$;
comment on function rowcast.wanted_triggers(regclass, boolean) is 'The triggers that capture a table and its partitions.';

create function rowcast.ensure_triggers(relation regclass, key integer, include_replicated boolean, tries integer default 50)
    returns integer
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
#variable_conflict use_variable
declare
    wanted record;
    present record;
    surplus name;
    mode "char" := case when include_replicated then 'A' else 'O' end;
    made integer := 0;
begin
    for surplus in
        select g.tgname from pg_trigger g join pg_proc f on f.oid = g.tgfoid
        where g.tgrelid = relation and g.tgparentid = 0 and f.pronamespace = 'rowcast'::regnamespace
            and g.tgname not in (
                select w.trigger from rowcast.wanted_triggers(relation, include_replicated) w where w.owner = relation)
    loop
        perform rowcast.lock_briefly(relation, 'access exclusive', tries);
        execute format('drop trigger %I on %s', surplus, relation);
    end loop;
    for wanted in select * from rowcast.wanted_triggers(relation, include_replicated) loop
        select g.tgfoid, g.tgenabled, encode(g.tgargs, 'escape') as arguments into present
        from pg_trigger g where g.tgrelid = wanted.owner and g.tgname = wanted.trigger;
        if not found then
            perform rowcast.lock_briefly(wanted.owner, 'share row exclusive', tries);
        elsif present.tgfoid = wanted.function and present.tgenabled = mode and present.arguments = key || '\000' then
            continue;
        else
            perform rowcast.lock_briefly(wanted.owner, 'access exclusive', tries);
            execute format('drop trigger %I on %s', wanted.trigger, wanted.owner);
        end if;
        execute format('create trigger %I ' || wanted.event || ' execute function %s(%L)',
            wanted.trigger, wanted.owner, wanted.function::regproc, key);
        if include_replicated then
            execute format('alter table %s enable always trigger %I', wanted.owner, wanted.trigger);
        end if;
        made := made + 1;
    end loop;
    return made;
end $$;
comment on function rowcast.ensure_triggers(regclass, integer, boolean, integer) is
    'Creates the capturing triggers a table or its partitions lack, and returns how many.';

-- Refuses what cannot be captured, with a message that says what to do instead.
create function rowcast.check_attachable(relation regclass) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    c pg_class;
    schema_name name;
    refusal text;
    hint text;
begin
    select * into c from pg_class where oid = relation;
    select nspname into schema_name from pg_namespace where oid = c.relnamespace;
    if c.relpersistence = 't' then
        refusal := 'is a temporary table, which only its own session sees';
        hint := 'Attach a permanent table.';
    elsif schema_name in ('pg_catalog', 'information_schema', 'rowcast', 'pg_toast') then
        refusal := 'belongs to the system';
        hint := 'Attach a table of your own.';
    elsif c.relkind in ('v', 'm') then
        refusal := 'is a view, and views do not change by themselves';
        hint := 'Attach the tables it reads from instead.';
    elsif c.relkind = 'f' then
        refusal := 'is a foreign table, whose changes happen elsewhere';
        hint := 'Attach the table in the database it lives in.';
    elsif c.relkind not in ('r', 'p') then
        refusal := 'is not a table';
        hint := 'Attach an ordinary or partitioned table.';
    elsif c.relispartition then
        refusal := format('is a partition of %s', pg_partition_root(relation));
        hint := format('Attach %s instead: rows written to a partition directly are captured too.',
            pg_partition_root(relation));
    elsif exists (select from pg_inherits where inhrelid = relation)
        or (c.relkind = 'r' and exists (select from pg_inherits where inhparent = relation))
    then
        refusal := 'takes part in table inheritance, where a statement on one table changes rows of another';
        hint := 'Use a partitioned table, or end the inheritance with alter table … no inherit.';
    elsif rowcast.key_columns(relation) is null then
        refusal := 'has no primary key and no unique index over columns that are not null, so its rows have no identity';
        hint := format('alter table %s add primary key (…);', relation);
    elsif not has_table_privilege(relation, 'trigger') then
        refusal := format('does not allow %s to create triggers', quote_ident(current_user));
        hint := format('grant trigger on %s to %I; or attach it as its owner.', relation, current_user);
    end if;
    if refusal is not null then
        raise exception 'rowcast: cannot attach %: it %', relation, refusal
            using errcode = 'wrong_object_type', hint = hint;
    end if;
end $$;
comment on function rowcast.check_attachable(regclass) is 'Raises an error that says what to do if a table cannot be attached.';

create function rowcast.describe_rule(rule text) returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select case when rule is null then 'locked (superusers only)' when rule = '' then 'public' else rule end
$$;
comment on function rowcast.describe_rule(text) is 'A rule in words.';

-- Writes one rule of a collection as PocketBase has it: null locks, '' opens, text decides.
create function rowcast.put_rule(collection text, kind text, rule text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    present text[] := (
        select array_agg(v3 order by id) from rowcast.casbin_rule
        where ptype = 'p' and v0 = 'anyone' and v1 = collection and v2 = kind and v4 = 'allow');
    wanted text[] := case when rule is not null then array[rule] end;
begin
    if present is not distinct from wanted then
        return false;
    end if;
    delete from rowcast.casbin_rule
    where ptype = 'p' and v0 = 'anyone' and v1 = collection and v2 = kind and v4 = 'allow';
    if rule is not null then
        insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4)
        values ('p', 'anyone', collection, kind, rule, 'allow');
    end if;
    return true;
end $$;
comment on function rowcast.put_rule(text, text, text) is 'Sets a rule in the policy; returns whether anything changed.';

-- The hidden columns of an attach() call, sorted, after making sure that they exist and may be hidden.
create function rowcast.check_hidden(relation regclass, hidden text[]) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    wrong text;
begin
    select h into wrong from unnest(hidden) h
    where not exists (
        select from pg_attribute where attrelid = relation and attname = h and attnum > 0 and not attisdropped)
    limit 1;
    if wrong is not null then
        raise exception 'rowcast: cannot hide %: % has no such column', quote_literal(wrong), relation
            using errcode = 'undefined_column', hint = 'Its columns are: ' || (
                select string_agg(attname, ', ' order by attnum) from pg_attribute
                where attrelid = relation and attnum > 0 and not attisdropped);
    end if;
    select attname into wrong from pg_attribute
    where attrelid = relation and attnum = any (rowcast.key_columns(relation)) and attname = any (hidden)
    limit 1;
    if wrong is not null then
        raise exception 'rowcast: cannot hide %: it is part of the key, which every record shows as its id',
            quote_literal(wrong)
            using errcode = 'invalid_parameter_value', hint = 'Leave it out of hidden.';
    end if;
    return array(select distinct h from unnest(hidden) h where h is not null order by h);
end $$;
comment on function rowcast.check_hidden(regclass, text[]) is 'Checks and sorts a list of columns to hide.';

-- The name of an attach() call, after making sure that it can be one and is free.
create function rowcast.check_name(relation regclass, name text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    wanted text := coalesce(name, (select relname from pg_class where oid = relation));
    holder regclass := (
        select c.relation from rowcast.collections c join pg_class r on r.oid = c.relation
        where wanted in (c.name, c.id) and c.relation <> check_name.relation);
begin
    if wanted !~ '^[A-Za-z_][A-Za-z0-9_]{0,99}$' then
        raise exception 'rowcast: % is no name for a collection', quote_literal(wanted)
            using errcode = 'invalid_name', hint = 'Give one of letters, digits and _: name => ''posts''.';
    end if;
    if holder is not null or wanted in ('_superusers', 'PB_CONNECT') then
        raise exception 'rowcast: the name % is taken', quote_literal(wanted)
            using errcode = 'duplicate_object',
                detail = coalesce(format('It stands for %s.', holder), 'It is reserved.'),
                hint = 'Give another one with name => ''…'', or detach that collection first.';
    end if;
    return wanted;
end $$;
comment on function rowcast.check_name(regclass, text) is 'Checks a collection''s name; the table''s name where none is given.';

create function rowcast.column_numbers(relation regclass, names text[]) returns smallint[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select array(
        select coalesce(a.attnum, 0)::smallint from unnest(names) with ordinality n (name, place)
        left join pg_attribute a
            on a.attrelid = column_numbers.relation and a.attname = n.name and a.attnum > 0 and not a.attisdropped
        order by n.place)
$$;
comment on function rowcast.column_numbers(regclass, text[]) is 'The numbers of columns, in the order of their names; 0 for one that is missing.';

create function rowcast.attach(
    target regclass,
    name text default null,
    list_rule text default null,
    view_rule text default null,
    hidden text[] default '{}',
    include_replicated boolean default false
) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    done text[] := '{}';
    present rowcast.collections;
    wanted_name text;
    wanted_hidden text[];
    wanted_attnums smallint[];
    column_name text;
    note text;
    made integer;
begin
    if target is null then
        raise exception 'rowcast: attach needs a table' using hint = 'select rowcast.attach(''public.posts'');';
    end if;
    perform rowcast.check_attachable(target);
    wanted_name := rowcast.check_name(target, attach.name);
    wanted_hidden := rowcast.check_hidden(target, attach.hidden);
    wanted_attnums := rowcast.column_numbers(target, wanted_hidden);
    for column_name in
        select attname from pg_attribute
        where attrelid = target and attnum > 0 and not attisdropped
            and (attname in ('collectionId', 'collectionName', 'expand')
                or attname = 'id' and rowcast.key_columns(target) <> array[attnum])
    loop
        raise notice 'rowcast: column % of % is not shown: records use that name for something else',
            quote_ident(column_name), target;
    end loop;

    -- A table that was dropped leaves its name to the one that comes after it.
    delete from rowcast.collections c
    where c.name = wanted_name and not exists (select from pg_class r where r.oid = c.relation)
    returning format('the table attached as %s before was dropped', c.name) into note;
    if found then
        delete from rowcast.casbin_rule p where p.ptype = 'p' and p.v1 = wanted_name;
        done := done || note;
    end if;
    if (select relpersistence from pg_class where oid = target) = 'u' then
        raise notice 'rowcast: % is unlogged: if Postgres crashes it is emptied, and nobody is told', target;
    end if;
    select * into present from rowcast.collections c where c.relation = target;
    if not found then
        insert into rowcast.collections (name, relation, attached_oid, hidden, hidden_attnums, include_replicated)
        values (wanted_name, target, target, wanted_hidden, wanted_attnums, attach.include_replicated)
        returning * into present;
        done := done || format('attached %s as %s (%s)', target, present.name, present.id);
    else
        if present.name <> wanted_name then
            update rowcast.casbin_rule set v1 = wanted_name where ptype = 'p' and v1 = present.name;
            done := done || format('renamed %s to %s', present.name, wanted_name);
        end if;
        if present.hidden <> wanted_hidden then
            done := done || format('hidden columns are now: %s',
                coalesce(nullif(array_to_string(wanted_hidden, ', '), ''), 'none'));
        end if;
        if (present.name, present.hidden, present.hidden_attnums, present.attached_oid, present.include_replicated)
            is distinct from (wanted_name, wanted_hidden, wanted_attnums, target::oid, attach.include_replicated)
        then
            update rowcast.collections
            set name = wanted_name, hidden = wanted_hidden, hidden_attnums = wanted_attnums, attached_oid = target,
                include_replicated = attach.include_replicated
            where key = present.key;
        end if;
    end if;
    made := rowcast.ensure_triggers(target, present.key, attach.include_replicated);
    if made > 0 then
        done := done || format('%s triggers created', made);
    end if;
    if rowcast.put_rule(wanted_name, 'list', list_rule) then
        done := done || format('list rule is now %s', rowcast.describe_rule(list_rule));
    end if;
    if rowcast.put_rule(wanted_name, 'view', view_rule) then
        done := done || format('view rule is now %s', rowcast.describe_rule(view_rule));
    end if;
    return wanted_name || ': ' || coalesce(nullif(array_to_string(done, '; '), ''), 'nothing to change');
end $$;
comment on function rowcast.attach(regclass, text, text, text, text[], boolean) is
    'Offers a table as a collection, or brings an attached one to this definition; says what it changed. '
    'Rules: null is superusers only, an empty text everybody, other text a rule in PocketBase''s filter language.';

create function rowcast.named(collection text) returns rowcast.collections
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
    found_one rowcast.collections;
begin
    select * into found_one from rowcast.collections c where named.collection in (c.name, c.id);
    if not found then
        raise exception 'rowcast: there is no collection %', quote_nullable(collection)
            using errcode = 'undefined_object', hint = coalesce(
                'Attached are: ' || (select string_agg(name, ', ' order by name) from rowcast.collections),
                'Nothing is attached yet: select rowcast.attach(''public.posts'');');
    end if;
    return found_one;
end $$;
comment on function rowcast.named(text) is 'The collection of this name or id, or an error that lists those there are.';

create function rowcast.set_rule(collection text, kind text, rule text) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    target rowcast.collections := rowcast.named(collection);
begin
    if kind is null or kind not in ('list', 'view') then
        raise exception 'rowcast: there is no % rule', quote_nullable(kind)
            using errcode = 'invalid_parameter_value', hint = 'The kinds of rules are list and view.';
    end if;
    if rowcast.put_rule(target.name, kind, rule) then
        return format('%s: %s rule is now %s', target.name, kind, rowcast.describe_rule(rule));
    end if;
    return format('%s: nothing to change', target.name);
end $$;
comment on function rowcast.set_rule(text, text, text) is
    'Sets the list or view rule of a collection: null locks it, '''' opens it to everybody.';

create function rowcast.detach(collection text) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    target rowcast.collections := rowcast.named(collection);
    ours record;
begin
    for ours in
        select g.tgrelid::regclass as owner, g.tgname as trigger
        from pg_trigger g
        join pg_proc f on f.oid = g.tgfoid
        where f.pronamespace = 'rowcast'::regnamespace
            -- The copies on partitions go with the trigger they were copied from.
            and g.tgparentid = 0
            -- By key, because a partition may have been detached since.
            and encode(g.tgargs, 'escape') = target.key || '\000'
    loop
        perform rowcast.lock_briefly(ours.owner, 'access exclusive');
        execute format('drop trigger %I on %s', ours.trigger, ours.owner);
    end loop;
    delete from rowcast.casbin_rule where ptype = 'p' and v1 = target.name;
    delete from rowcast.collections where key = target.key;
    return format('%s: detached from %s', target.name, target.relation);
end $$;
comment on function rowcast.detach(text) is
    'Takes a collection off the feed: removes our triggers and its rules, and touches nothing else.';

-- What DDL on attached tables leaves to be done; the server asks for it now and then: a new partition
-- needs its TRUNCATE trigger, a table that got a column of another type may need the other variant.
create function rowcast.tend_triggers() returns integer
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    made integer := 0;
begin
    for target in
        select c.* from rowcast.collections c join pg_class r on r.oid = c.relation where not r.relispartition
    loop
        begin
            made := made + rowcast.ensure_triggers(target.relation, target.key, target.include_replicated, tries => 1);
        exception when lock_not_available or insufficient_privilege then
            -- Writers come first; the next turn tries again.
            raise warning 'rowcast: triggers of % are not up to date yet: %', target.relation, sqlerrm;
        end;
    end loop;
    return made;
end $$;
comment on function rowcast.tend_triggers() is
    'Creates the triggers that new partitions and columns ask for, and returns how many.';

-- Follows hidden columns through renaming, by number, and through a dump, by name: numbers survive the
-- former and names the latter, so each is kept up to date by the other while both are known.
create function rowcast.tend_hidden() returns integer
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    tended integer := 0;
begin
    for target in
        select c.key, c.relation, n.names, rowcast.column_numbers(c.relation, n.names) as numbers
        from rowcast.collections c
        join pg_class r on r.oid = c.relation
        cross join lateral (
            select array(
                select coalesce(a.attname, h.name) from unnest(c.hidden, c.hidden_attnums) with ordinality h (name, number, place)
                left join pg_attribute a
                    on c.attached_oid = c.relation and a.attrelid = c.relation and a.attnum = h.number
                        and a.attnum > 0 and not a.attisdropped
                order by h.place)::text[]
        ) n (names)
        where (c.attached_oid, c.hidden, c.hidden_attnums)
            is distinct from (c.relation::oid, n.names, rowcast.column_numbers(c.relation, n.names))
            -- Restored, and a name is missing: nobody can tell which column it was. See load_collections.sql.
            and (c.attached_oid = c.relation or 0 <> all (rowcast.column_numbers(c.relation, n.names)))
    loop
        update rowcast.collections
        set attached_oid = target.relation, hidden = target.names, hidden_attnums = target.numbers
        where key = target.key;
        tended := tended + 1;
    end loop;
    return tended;
end $$;
comment on function rowcast.tend_hidden() is 'Brings names and numbers of hidden columns up to date, and returns for how many tables.';

create function rowcast.status() returns table (item text, value text)
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select 'schema version', (select max(version)::text from rowcast.schema_history)
    union all
    select 'collections', (select count(*)::text from rowcast.collections)
    union all
    select 'recording', case coalesce(pg_sequence_last_value('rowcast.log_slot'), 0)
        when 0 then 'no: the log is closed; start rowcast serve' else 'yes' end
    union all
    select 'log slot', pg_sequence_last_value('rowcast.log_slot')::text
        || ' since ' || (select to_char(slot_opened at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS"Z"') from rowcast.log_state)
    union all
    select 'log rows (estimate)', (
        select sum(pg_stat_get_live_tuples(inhrelid))::text from pg_inherits where inhparent = 'rowcast.changes'::regclass)
    union all
    select 'log size', (
        select pg_size_pretty(sum(pg_total_relation_size(inhrelid))) from pg_inherits where inhparent = 'rowcast.changes'::regclass)
    union all
    select 'readers', case
        when bell & 1 = 0 then 'awake, or none was ever asleep'
        when extract(epoch from now()) * 1000000 - bell / 2 > 90000000 then 'none seen for 90 s'
        else 'asleep: the next change rings' end
    from (select pg_sequence_last_value('rowcast.bell')) b (bell)
    union all
    select 'epoch', rowcast.epoch()
$$;
comment on function rowcast.status() is 'How the change log and its readers are doing, line by line.';

-- Nothing here is for everybody: whoever owns the schema decides whom to let in.
revoke all on all functions in schema rowcast from public;
revoke all on all tables in schema rowcast from public;
revoke all on all sequences in schema rowcast from public;
