-- Auth collections, and columns that are never written to the change log.

alter table rowcast.collections
    add column kind text not null default 'base' check (kind in ('base', 'auth')),
    add column identity text[] not null default '{}',
    add column password text,
    add column token_key text,
    add column never_captured text[] not null default '{}',
    add column never_captured_attnums smallint[] not null default '{}',
    add column never_captured_oid oid not null default 0;
comment on column rowcast.collections.kind is 'base, or auth: its records can log in and hold tokens.';
comment on column rowcast.collections.identity is 'Columns by which a record is found at login, each unique by itself.';
comment on column rowcast.collections.password is 'The column with bcrypt or argon2 hashes; null: no login by password.';
comment on column rowcast.collections.token_key is
    'The column whose change makes a record''s tokens invalid; null: derived from the password''s hash and the email.';
comment on column rowcast.collections.never_captured is
    'Columns left out of every image in the change log; the password and the token key are among them.';
comment on column rowcast.collections.never_captured_attnums is
    'The same by number, so that renaming a column does not uncover it.';
comment on column rowcast.collections.never_captured_oid is
    'The table''s oid when they were numbered: after a restore it differs, and numbers mean nothing.';
comment on column rowcast.changes.op is
    'I, U, D: insert, update, delete. K: the columns of a record that are never captured have changed, old is its image; '
    'with collection 0 the keys of a superuser have, new is the id. '
    'T: some changes are not listed, such as a TRUNCATE of too many rows. '
    'C: the catalog or the policy changed. R: a slot was emptied, new tells which transactions it held.';

-- Keys for signing reach running servers with the next token; a new one must reach open streams too.
-- The superusers' has marks of its own, below.
create trigger secret_added after insert on rowcast.secrets
    for each row when (new.name like 'auth\_token.%') execute function rowcast.catalog_changed();
create trigger secret_changed after update or delete on rowcast.secrets
    for each row when (old.name like 'auth\_token.%') execute function rowcast.catalog_changed();
create trigger secrets_gone after truncate on rowcast.secrets
    for each statement execute function rowcast.catalog_changed();

-- Superusers stand in no attached table, so their keys have marks of their own: K with the superuser's
-- id, or with nothing for all of them.
create function rowcast.superuser_keys_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'DELETE' or old.token_key <> new.token_key or old.id <> new.id then
        perform rowcast.log_control('K', old.id);
    end if;
    return null;
end $$;
comment on function rowcast.superuser_keys_changed() is 'Row trigger: open streams of this superuser are a guest''s from now on.';
create trigger keys_changed after update or delete on rowcast.superusers
    for each row execute function rowcast.superuser_keys_changed();

create function rowcast.superuser_secret_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform rowcast.log_control('K', '');
    return null;
end $$;
comment on function rowcast.superuser_secret_changed() is 'Row trigger: open streams of all superusers are guests'' from now on.';
create trigger keys_changed after update or delete on rowcast.secrets
    for each row when (old.name = 'superusers.auth_token') execute function rowcast.superuser_secret_changed();

create trigger keys_gone after truncate on rowcast.secrets
    for each statement execute function rowcast.superuser_secret_changed();
create trigger keys_gone after truncate on rowcast.superusers
    for each statement execute function rowcast.superuser_secret_changed();

-- An image without some columns; null if it has not got them all, for then one of them may stand in
-- it under another name. The text of the other values and their order stay as they are.
create function rowcast.image_without(image json, names text[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select case when count(*) filter (where e.key = any (names)) = cardinality(names)
        then (json_object_agg(e.key, e.value order by e.place) filter (where e.key <> all (names)))::text end
    from json_each(image) with ordinality e (key, value, place)
$$;
comment on function rowcast.image_without(json, text[]) is
    'A row image without some columns, or null if it lacks one of them.';

-- Only those columns, for telling whether they have changed.
create function rowcast.image_of(image json, names text[]) returns text
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select json_object_agg(e.key, e.value order by e.key)::text from json_each(image) e where e.key = any (names)
$$;
comment on function rowcast.image_of(json, text[]) is 'Some columns of a row image.';

-- The columns to leave out that still exist; null if one of them has another name by now. After a
-- restore numbers mean nothing, and names must do.
create function rowcast.names_to_omit(relation regclass, numbered_oid oid, names text[], attnums smallint[])
    returns text[]
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with root as (select coalesce(pg_partition_root(relation), relation) as oid),
    wanted as (
        select w.name, a.attname, coalesce(a.attisdropped, false) as dropped
        from root
        cross join unnest(names, attnums) w (name, attnum)
        left join pg_attribute a on a.attrelid = root.oid
            and case when root.oid = numbered_oid then a.attnum = w.attnum else a.attname = w.name end
    )
    select case when bool_and(dropped or name = attname) is not true then null
        else coalesce(array_agg(name) filter (where not dropped), '{}') end
    from wanted
$$;
comment on function rowcast.names_to_omit(regclass, oid, text[], smallint[]) is
    'The columns that images must be without, or null if that cannot be told any more.';

-- The triggers' side for tables with columns that are never captured. Arguments: the collection's
-- key, the columns' names and numbers, and the table's oid when they were numbered. These tables are few
-- and written seldom, so search_path and formats are pinned.
do $migration$
declare
    head constant text := $body$
#variable_conflict use_variable
declare
    slot bigint := pg_sequence_last_value('rowcast.log_slot');
    lsn pg_lsn := pg_current_wal_insert_lsn();
    collection integer := tg_argv[0]::integer;
    omitted text[] := rowcast.names_to_omit(tg_relid, tg_argv[3]::oid, tg_argv[1]::text[], tg_argv[2]::smallint[]);
    bell bigint;
    -- As in capture_insert(): small letters for what another trigger did.
    nested boolean := pg_trigger_depth() > 1;
begin
    if coalesce(slot, 0) = 0 then
        return null;
    end if;
$body$;
    tail constant text := $body$
    if not found then
        return null;
    end if;
    bell := pg_sequence_last_value('rowcast.bell');
    if bell & 1 = 1 then
        perform rowcast.ring(bell);
    end if;
    if right(pg_current_xact_id()::text, 2) = '00' then
        perform rowcast.guard_size(slot);
    end if;
    return null;
end
$body$;
    settings constant text := 'language plpgsql security definer set search_path = pg_catalog, pg_temp '
        'set datestyle = iso set intervalstyle = postgres set timezone = utc set bytea_output = hex '
        'set extra_float_digits = 1';
begin
    -- An image that cannot be made is null, and the reader takes a change without one for a gap.
    execute format('create function rowcast.capture_insert_without() returns trigger %s as %L', settings, head || $body$
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, new)
    select slot, pg_current_xact_id(), lsn, row_number() over (), collection,
        (case when nested then 'i' else 'I' end)::"char",
        case when omitted is not null then rowcast.image_without(row_to_json(r.*), omitted) end
    from rowcast_new r;
$body$ || tail);

    execute format('create function rowcast.capture_delete_without() returns trigger %s as %L', settings, head || $body$
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, old)
    select slot, pg_current_xact_id(), lsn, row_number() over (), collection,
        (case when nested then 'd' else 'D' end)::"char",
        case when omitted is not null then rowcast.image_without(row_to_json(r.*), omitted) end
    from rowcast_old r;
$body$ || tail);

    -- The mark that a record's keys have changed stands before the changes, so that nobody who held
    -- the old ones is shown the new row.
    execute format('create function rowcast.capture_update_without() returns trigger %s as %L', settings, head || $body$
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, old, new)
    with pairs as (
        select coalesce(o.n, p.n) as n, o.image as before, p.image as after
        from (select row_number() over () as n, row_to_json(r.*) as image from rowcast_old r) o
        full join (select row_number() over () as n, row_to_json(r.*) as image from rowcast_new r) p on o.n = p.n
    )
    select slot, pg_current_xact_id(), lsn, -n, collection,
        (case when nested then 'k' else 'K' end)::"char", rowcast.image_without(before, omitted), null
    from pairs
    where omitted is not null and rowcast.image_of(before, omitted) is distinct from rowcast.image_of(after, omitted)
    union all
    select slot, pg_current_xact_id(), lsn, n, collection,
        (case when nested then 'u' else 'U' end)::"char",
        case when omitted is not null then rowcast.image_without(before, omitted) end,
        case when omitted is not null then rowcast.image_without(after, omitted) end
    from pairs;
$body$ || tail);

    execute format('create function rowcast.capture_row_without() returns trigger %s as %L', settings, head || $body$
    if tg_op = 'UPDATE' and omitted is not null
        and rowcast.image_of(row_to_json(old), omitted) is distinct from rowcast.image_of(row_to_json(new), omitted)
    then
        insert into rowcast.changes (slot, xid, lsn, n, collection, op, old)
        values (slot, pg_current_xact_id(), lsn, -1, collection,
            (case when nested then 'k' else 'K' end)::"char", rowcast.image_without(row_to_json(old), omitted));
    end if;
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, old, new) values (
        slot, pg_current_xact_id(), lsn, 1, collection,
        case when nested then lower(left(tg_op, 1)) else left(tg_op, 1) end::"char",
        case when tg_op <> 'INSERT' and omitted is not null then rowcast.image_without(row_to_json(old), omitted) end,
        case when tg_op <> 'DELETE' and omitted is not null then rowcast.image_without(row_to_json(new), omitted) end);
$body$ || tail);
end $migration$;
comment on function rowcast.capture_insert_without() is 'As capture_insert_pinned(), without the columns that are never captured.';
comment on function rowcast.capture_update_without() is 'As capture_update_pinned(), without the columns that are never captured.';
comment on function rowcast.capture_delete_without() is 'As capture_delete_pinned(), without the columns that are never captured.';
comment on function rowcast.capture_row_without() is 'As capture_row_pinned(), without the columns that are never captured.';

create function rowcast.capture_truncate_without() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set datestyle = iso set intervalstyle = postgres set timezone = utc set bytea_output = hex set extra_float_digits = 1
as $$
declare
    slot bigint := pg_sequence_last_value('rowcast.log_slot');
    omitted text[] := rowcast.names_to_omit(tg_relid, tg_argv[3]::oid, tg_argv[1]::text[], tg_argv[2]::smallint[]);
    bell bigint;
    row_limit bigint := coalesce((select value from rowcast.settings where name = 'truncate_rows_max'), 0);
    listed bigint;
    part regclass;
begin
    if coalesce(slot, 0) = 0 then
        return null;
    end if;
    -- A partition that was detached keeps this trigger and is nobody's business any more.
    if not exists (
        select from rowcast.collections c
        where c.key = tg_argv[0]::int and (c.relation = tg_relid
            or c.relation in (select relid from pg_partition_ancestors(tg_relid))))
    then
        return null;
    end if;
    -- A transaction that sees an older state than the one it empties cannot list it.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        row_limit := -1;
    end if;
    for part in
        -- Leaves that no trigger nearer than this one speaks for.
        select t.relid from pg_partition_tree(tg_relid) t
        where t.isleaf and tg_relid = (
            select a.relid from pg_partition_ancestors(t.relid) with ordinality a (relid, place)
            where exists (select from pg_trigger g
                where g.tgrelid = a.relid and g.tgfoid = 'rowcast.capture_truncate_without'::regproc)
            order by a.place limit 1)
        union all
        select tg_relid where not exists (select from pg_partition_tree(tg_relid))
    loop
        -- What this role may not read in full it cannot list.
        if row_limit >= 0 and omitted is not null and has_table_privilege(part, 'select') and not row_security_active(part) then
            execute format('select count(*) from (select from only %s limit %s) r', part, row_limit + 1) into listed;
        else
            listed := row_limit + 1;
        end if;
        if listed > row_limit then
            insert into rowcast.changes (slot, xid, lsn, n, collection, op)
            values (slot, pg_current_xact_id(), pg_current_wal_insert_lsn(), 1, tg_argv[0]::int, 'T');
        else
            execute format(
                'insert into rowcast.changes (slot, xid, lsn, n, collection, op, old)
                 select %s, pg_current_xact_id(), %L, row_number() over (), %s, ''D'',
                     rowcast.image_without(row_to_json(r.*), %L) from only %s r',
                slot, pg_current_wal_insert_lsn(), tg_argv[0]::int, omitted, part);
        end if;
    end loop;
    bell := pg_sequence_last_value('rowcast.bell');
    if bell & 1 = 1 then
        perform rowcast.ring(bell);
    end if;
    return null;
end $$;
comment on function rowcast.capture_truncate_without() is
    'As capture_truncate(), without the columns that are never captured.';

-- The triggers a table must have, one row each, now with their arguments.
drop function rowcast.wanted_triggers(regclass, boolean);
create function rowcast.wanted_triggers(relation regclass, include_replicated boolean)
    returns table (owner regclass, trigger name, event text, function regprocedure, arguments text[])
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with target as (
        -- Row triggers serve partitioned tables, and tables that a subscription writes to: logical
        -- replication fires no statement triggers.
        select r.relkind = 'p' or include_replicated as by_row,
            case when cardinality(c.never_captured) > 0 then '_without'
                when rowcast.needs_pinning(r.oid) then '_pinned' else '' end as suffix,
            case when cardinality(c.never_captured) > 0 then '_without' else '' end as truncate_suffix,
            case when cardinality(c.never_captured) > 0
                then array[c.key::text, c.never_captured::text, c.never_captured_attnums::text, c.never_captured_oid::text]
                else array[c.key::text] end as arguments
        from pg_class r
        join rowcast.collections c on c.relation = r.oid
        where r.oid = wanted_triggers.relation
    )
    -- The names sort late, so that the user's own triggers run first.
    select wanted_triggers.relation, v.trigger::name, v.event, format('rowcast.%s%s()', v.function, suffix)::regprocedure,
        arguments
    from target, (values
        ('zz_rowcast_insert', 'capture_insert', 'after insert on %s referencing new table as rowcast_new for each statement'),
        ('zz_rowcast_update', 'capture_update',
            'after update on %s referencing old table as rowcast_old new table as rowcast_new for each statement'),
        ('zz_rowcast_delete', 'capture_delete', 'after delete on %s referencing old table as rowcast_old for each statement')
    ) v (trigger, function, event)
    where not by_row
    union all
    select wanted_triggers.relation, 'zz_rowcast_row', 'after insert or update or delete on %s for each row',
        format('rowcast.capture_row%s()', suffix)::regprocedure, arguments
    from target where by_row
    union all
    -- TRUNCATE triggers are not copied to partitions, so each gets its own.
    select part, 'zz_rowcast_truncate', 'before truncate on %s for each statement',
        format('rowcast.capture_truncate%s()', truncate_suffix)::regprocedure, arguments
    from target, (
        select wanted_triggers.relation as part
        union
        select t.relid from pg_partition_tree(wanted_triggers.relation) t
    ) parts
$$;
comment on function rowcast.wanted_triggers(regclass, boolean) is
    'The triggers that capture an attached table and its partitions.';

create or replace function rowcast.ensure_triggers(relation regclass, key integer, include_replicated boolean, tries integer default 50)
    returns integer
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
#variable_conflict use_variable
declare
    wanted record;
    present record;
    surplus name;
    arguments bytea;
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
        select string_agg(convert_to(a, getdatabaseencoding()) || '\x00'::bytea, ''::bytea order by place) into arguments
        from unnest(wanted.arguments) with ordinality u (a, place);
        select g.tgfoid, g.tgenabled, g.tgargs into present
        from pg_trigger g where g.tgrelid = wanted.owner and g.tgname = wanted.trigger;
        if not found then
            perform rowcast.lock_briefly(wanted.owner, 'share row exclusive', tries);
        elsif present.tgfoid = wanted.function and present.tgenabled = mode and present.tgargs = arguments then
            continue;
        else
            perform rowcast.lock_briefly(wanted.owner, 'access exclusive', tries);
            execute format('drop trigger %I on %s', wanted.trigger, wanted.owner);
        end if;
        execute format('create trigger %I ' || wanted.event || ' execute function %s(%s)',
            wanted.trigger, wanted.owner, wanted.function::regproc,
            (select string_agg(quote_literal(a), ', ' order by place)
                from unnest(wanted.arguments) with ordinality u (a, place)));
        if include_replicated then
            execute format('alter table %s enable always trigger %I', wanted.owner, wanted.trigger);
        end if;
        made := made + 1;
    end loop;
    return made;
end $$;

-- The error for a column that a definition names and the table lacks.
create function rowcast.check_column(relation regclass, name text, role text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    if not exists (
        select from pg_attribute a where a.attrelid = relation and a.attname = name and a.attnum > 0 and not a.attisdropped)
    then
        raise exception 'rowcast: % names the column %, which % has not got', role, quote_nullable(name), relation
            using errcode = 'undefined_column', hint = 'Its columns are: ' || (
                select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a
                where a.attrelid = relation and a.attnum > 0 and not a.attisdropped);
    end if;
end $$;
comment on function rowcast.check_column(regclass, text, text) is 'Raises an error if a table lacks a column.';

-- Refuses what would let one login find two records, or hide what every record shows.
create function rowcast.check_auth(
    relation regclass, kind text, identity text[], password text, token_key text, never_captured text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    name text;
begin
    if kind is null or kind not in ('base', 'auth') then
        raise exception 'rowcast: there is no kind %', quote_nullable(kind)
            using errcode = 'invalid_parameter_value', hint = 'The kinds of collections are base and auth.';
    end if;
    if kind = 'base' and (cardinality(identity) > 0 or password is not null or token_key is not null) then
        raise exception 'rowcast: identity, password and token_key are for auth collections'
            using errcode = 'invalid_parameter_value', hint = 'Add kind => ''auth''.';
    end if;
    if kind = 'auth' and cardinality(rowcast.key_columns(relation)) <> 1 then
        raise exception 'rowcast: % cannot be an auth collection: its key has several columns', relation
            using errcode = 'invalid_parameter_value',
                hint = 'Tokens name a record by one value; give the table a primary key of one column.';
    end if;
    if password is not null and cardinality(identity) = 0 then
        raise exception 'rowcast: login by password needs a column by which a record is found'
            using errcode = 'invalid_parameter_value', hint = 'Name one or more: identity => array[''email''].';
    end if;
    foreach name in array identity loop
        perform rowcast.check_column(relation, name, 'identity');
        if not exists (
            select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            where i.indrelid = relation and i.indisunique and i.indisvalid and i.indnkeyatts = 1
                and i.indpred is null and i.indexprs is null and a.attname = name)
        then
            raise exception 'rowcast: the identity column % of % is not unique by itself', quote_literal(name), relation
                using errcode = 'invalid_parameter_value',
                    hint = format('create unique index on %s (%I);', relation, name);
        end if;
    end loop;
    if password is not null then
        perform rowcast.check_column(relation, password, 'password');
    end if;
    if token_key is not null then
        perform rowcast.check_column(relation, token_key, 'token_key');
    end if;
    foreach name in array never_captured loop
        perform rowcast.check_column(relation, name, 'never_captured');
        if name = any (identity) or exists (
            select from pg_attribute a
            where a.attrelid = relation and a.attname = name and a.attnum = any (rowcast.key_columns(relation)))
        then
            raise exception 'rowcast: the column % cannot be left out: records are known by it', quote_literal(name)
                using errcode = 'invalid_parameter_value', hint = 'Leave it out of never_captured, password and token_key.';
        end if;
    end loop;
end $$;
comment on function rowcast.check_auth(regclass, text, text[], text, text, text[]) is
    'Raises an error that says what to do if a collection cannot be defined like this.';

drop function rowcast.attach(regclass, text, text, text, text[], boolean);
create function rowcast.attach(
    target regclass,
    name text default null,
    list_rule text default null,
    view_rule text default null,
    hidden text[] default '{}',
    include_replicated boolean default false,
    kind text default 'base',
    identity text[] default null,
    password text default null,
    token_key text default null,
    never_captured text[] default '{}'
) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    done text[] := '{}';
    present rowcast.collections;
    wanted rowcast.collections;
    column_name text;
    note text;
    made integer;
begin
    if target is null then
        raise exception 'rowcast: attach needs a table' using hint = 'select rowcast.attach(''public.posts'');';
    end if;
    perform rowcast.check_attachable(target);
    wanted.name := rowcast.check_name(target, attach.name);
    wanted.hidden := rowcast.check_hidden(target, attach.hidden);
    wanted.hidden_attnums := rowcast.column_numbers(target, wanted.hidden);
    wanted.kind := attach.kind;
    wanted.password := attach.password;
    wanted.token_key := attach.token_key;
    wanted.identity := coalesce(attach.identity, (
        select array['email'] from pg_attribute
        where attrelid = target and attname = 'email' and not attisdropped and attach.password is not null), '{}');
    wanted.never_captured := array(
        select distinct c from unnest(attach.never_captured || attach.password || attach.token_key) c
        where c is not null order by c);
    perform rowcast.check_auth(
        target, wanted.kind, wanted.identity, wanted.password, wanted.token_key, wanted.never_captured);
    wanted.never_captured_attnums := rowcast.column_numbers(target, wanted.never_captured);
    wanted.never_captured_oid := case when wanted.never_captured = '{}' then 0 else target::oid end;
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
    where c.name = wanted.name and not exists (select from pg_class r where r.oid = c.relation)
    returning format('the table attached as %s before was dropped', c.name) into note;
    if found then
        delete from rowcast.casbin_rule p where p.ptype = 'p' and p.v1 = wanted.name;
        done := done || note;
    end if;
    if (select relpersistence from pg_class where oid = target) = 'u' then
        raise notice 'rowcast: % is unlogged: if Postgres crashes it is emptied, and nobody is told', target;
    end if;
    select * into present from rowcast.collections c where c.relation = target;
    if not found then
        insert into rowcast.collections (name, relation, attached_oid, hidden, hidden_attnums, include_replicated,
            kind, identity, password, token_key, never_captured, never_captured_attnums, never_captured_oid)
        values (wanted.name, target, target, wanted.hidden, wanted.hidden_attnums, attach.include_replicated,
            wanted.kind, wanted.identity, wanted.password, wanted.token_key,
            wanted.never_captured, wanted.never_captured_attnums, wanted.never_captured_oid)
        returning * into present;
        done := done || format('attached %s as %s (%s)', target, present.name, present.id);
        if wanted.kind = 'auth' then
            perform rowcast.put_rule(wanted.name, 'auth', '');
        end if;
    else
        if present.name <> wanted.name then
            update rowcast.casbin_rule set v1 = wanted.name where ptype = 'p' and v1 = present.name;
            -- Records of an auth collection stand in the policy under its name: as <name>/<id>.
            update rowcast.casbin_rule set v0 = wanted.name || substr(v0, length(present.name) + 1)
            where ptype in ('p', 'g') and starts_with(v0, present.name || '/');
            done := done || format('renamed %s to %s', present.name, wanted.name);
        end if;
        if present.hidden <> wanted.hidden then
            done := done || format('hidden columns are now: %s',
                coalesce(nullif(array_to_string(wanted.hidden, ', '), ''), 'none'));
        end if;
        if present.never_captured <> wanted.never_captured then
            done := done || format('never captured columns are now: %s',
                coalesce(nullif(array_to_string(wanted.never_captured, ', '), ''), 'none'));
        end if;
        if (present.kind, present.identity, present.password, present.token_key)
            is distinct from (wanted.kind, wanted.identity, wanted.password, wanted.token_key)
        then
            done := done || case wanted.kind when 'auth' then format('logs in by %s', coalesce(
                nullif(array_to_string(wanted.identity, ', '), ''), 'token only')) else 'is no auth collection any more' end;
            -- Whoever had a token had it under another definition.
            delete from rowcast.secrets where secrets.name = 'auth_token.' || present.id;
        end if;
        if present.kind <> wanted.kind then
            perform rowcast.put_rule(wanted.name, 'auth', case wanted.kind when 'auth' then '' end);
            perform rowcast.put_rule(wanted.name, 'manage', null);
        end if;
        if (present.name, present.hidden, present.hidden_attnums, present.attached_oid, present.include_replicated,
                present.kind, present.identity, present.password, present.token_key,
                present.never_captured, present.never_captured_attnums, present.never_captured_oid)
            is distinct from (wanted.name, wanted.hidden, wanted.hidden_attnums, target::oid, attach.include_replicated,
                wanted.kind, wanted.identity, wanted.password, wanted.token_key,
                wanted.never_captured, wanted.never_captured_attnums, wanted.never_captured_oid)
        then
            update rowcast.collections
            set name = wanted.name, hidden = wanted.hidden, hidden_attnums = wanted.hidden_attnums, attached_oid = target,
                include_replicated = attach.include_replicated, kind = wanted.kind, identity = wanted.identity,
                password = wanted.password, token_key = wanted.token_key, never_captured = wanted.never_captured,
                never_captured_attnums = wanted.never_captured_attnums, never_captured_oid = wanted.never_captured_oid
            where key = present.key;
        end if;
    end if;
    made := rowcast.ensure_triggers(target, present.key, attach.include_replicated);
    if made > 0 then
        done := done || format('%s triggers created', made);
    end if;
    -- What must never be captured must not stand in the log from before either. A change whose image is
    -- gone is a gap to a reader that has not read it yet. After the triggers, whose lock lets no writer
    -- add to it.
    if not wanted.never_captured <@ present.never_captured then
        update rowcast.changes set old = null, new = null
        where collection = present.key and (old is not null or new is not null);
    end if;
    if rowcast.put_rule(wanted.name, 'list', list_rule) then
        done := done || format('list rule is now %s', rowcast.describe_rule(list_rule));
    end if;
    if rowcast.put_rule(wanted.name, 'view', view_rule) then
        done := done || format('view rule is now %s', rowcast.describe_rule(view_rule));
    end if;
    return wanted.name || ': ' || coalesce(nullif(array_to_string(done, '; '), ''), 'nothing to change');
end $$;
comment on function rowcast.attach(regclass, text, text, text, text[], boolean, text, text[], text, text, text[]) is
    'Offers a table as a collection, or brings an attached one to this definition; says what it changed. '
    'Rules: null is superusers only, an empty text everybody, other text a rule in PocketBase''s filter language. '
    'With kind => ''auth'' its records log in by the identity columns and the hashes in the password column. '
    'Columns that are never captured, the password and the token key among them, are in no image of the change log.';

create or replace function rowcast.set_rule(collection text, kind text, rule text) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    target rowcast.collections := rowcast.named(collection);
    kinds text[] := case target.kind when 'auth' then '{list,view,manage,auth}' else '{list,view}' end;
    listed text := case target.kind when 'auth' then 'list, view, manage and auth' else 'list and view' end;
begin
    if kind is null or not kind = any (kinds) then
        raise exception 'rowcast: there is no % rule', quote_nullable(kind)
            using errcode = 'invalid_parameter_value',
                hint = format('The kinds of rules of %s are %s.', target.name, listed);
    end if;
    if rowcast.put_rule(target.name, kind, rule) then
        -- As in PocketBase: whoever logged in under the old rule logs in again.
        if kind = 'auth' then
            delete from rowcast.secrets where name = 'auth_token.' || target.id;
        end if;
        return format('%s: %s rule is now %s', target.name, kind, rowcast.describe_rule(rule));
    end if;
    return format('%s: nothing to change', target.name);
end $$;
comment on function rowcast.set_rule(text, text, text) is
    'Sets a rule of a collection: null locks it, '''' opens it to everybody. Kinds: list and view, for auth collections '
    'also auth (who may log in; changing it ends all tokens) and manage (who sees all emails).';

-- Finds a record of an auth collection for a login or a token. The column decides what equal means
-- (citext finds names in any case), and its index is used; text it cannot hold finds nothing.
create function rowcast.auth_record(collection_id text, field text, value text)
    returns table (image text, password text, token_key text)
language plpgsql stable set search_path = pg_catalog, pg_temp
set datestyle = iso set intervalstyle = postgres set timezone = utc set bytea_output = hex
as $$
#variable_conflict use_variable
declare
    target rowcast.collections;
    omitted text[];
    type_name text;
    operator_schema text;
    statement text;
begin
    select * into target from rowcast.collections c where c.id = collection_id and c.kind = 'auth';
    field := coalesce(field, (
        select a.attname from pg_attribute a
        where a.attrelid = target.relation and a.attnum = (rowcast.key_columns(target.relation))[1]));
    select format_type(a.atttypid, -1), coalesce(o.oprnamespace::regnamespace::text, 'pg_catalog')
    into type_name, operator_schema
    from pg_attribute a
    left join pg_operator o on o.oprname = '=' and o.oprleft = a.atttypid and o.oprright = a.atttypid
    where a.attrelid = target.relation and a.attname = field and a.attnum > 0 and not a.attisdropped;
    if not found then
        return;
    end if;
    omitted := rowcast.names_to_omit(
        target.relation, target.never_captured_oid, target.never_captured, target.never_captured_attnums);
    statement := format(
        'select %s, %s, %s from %s r where r.%I operator(%s.=) $1::text::%s limit 2',
        case when cardinality(target.never_captured) > 0
            then 'rowcast.image_without(row_to_json(r.*), $2)' else 'row_to_json(r.*)::text' end,
        case when target.password is null then 'null::text' else format('r.%I::text', target.password) end,
        case when target.token_key is null then 'null::text' else format('r.%I::text', target.token_key) end,
        target.relation, field, operator_schema, type_name);
    begin
        return query execute statement using value, omitted;
    exception when data_exception then
        return;
    end;
end $$;
comment on function rowcast.auth_record(text, text, text) is
    'A record of an auth collection by one of its columns, by its key where none is named: its image and its keys.';

create or replace function rowcast.detach(collection text) returns text
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
            and split_part(encode(g.tgargs, 'escape'), '\000', 1) = target.key::text
    loop
        perform rowcast.lock_briefly(ours.owner, 'access exclusive');
        execute format('drop trigger %I on %s', ours.trigger, ours.owner);
    end loop;
    delete from rowcast.casbin_rule where ptype = 'p' and v1 = target.name;
    delete from rowcast.collections where key = target.key;
    return format('%s: detached from %s', target.name, target.relation);
end $$;

-- The secret of a collection goes with it, whichever way it goes.
create function rowcast.forget_secret() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from rowcast.secrets where name = 'auth_token.' || old.id;
    return null;
end $$;
comment on function rowcast.forget_secret() is 'Row trigger: a collection that is gone leaves no valid tokens behind.';
create trigger forget_secret after delete on rowcast.collections
    for each row execute function rowcast.forget_secret();

revoke all on all functions in schema rowcast from public;
revoke all on all tables in schema rowcast from public;
revoke all on all sequences in schema rowcast from public;
