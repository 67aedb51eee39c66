-- Relations that no foreign key tells of: arrays of keys, and names for paths.

alter table rowcast.collections
    add column relations jsonb not null default '{}',
    add column shape text not null default '';
comment on column rowcast.collections.relations is
    'Declared relations: {"column": "collection"}, or {"name": "path"} where the value has a dot. Foreign keys are relations '
    'by themselves.';
comment on column rowcast.collections.shape is
    'A digest of what servers last read of the table; it changes with the table, and that makes them read again.';

-- No trigger tells of DDL, so the server compares this now and then. By names alone: a restored table has
-- the same shape.
create function rowcast.shape(relation regclass) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(md5(string_agg(part, E'\n' order by part collate "C")), '')
    from (
        select format('column %I %s', a.attname, format_type(a.atttypid, a.atttypmod))
        from pg_attribute a where a.attrelid = shape.relation and a.attnum > 0 and not a.attisdropped
        union all
        -- Not their definitions as text: writing those takes a lock on the table, and whoever truncates it might
        -- find itself in a deadlock with us.
        select format('key %s of %s: %s of %s', f.conkey, f.conname, f.confkey, f.confrelid)
        from pg_constraint f where f.conrelid = shape.relation and f.contype = 'f'
        union all
        select format('unique %s %s %s', i.indkey, i.indexprs, i.indpred)
        from pg_index i where i.indrelid = shape.relation and i.indisunique and i.indisvalid
    ) parts (part)
$$;
comment on function rowcast.shape(regclass) is 'A digest of a table''s columns, foreign keys and unique indexes.';

create function rowcast.tend_shapes() returns integer
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    changed integer[] := array(select c.key from rowcast.collections c where c.shape <> rowcast.shape(c.relation));
begin
    -- An update rings even if it finds no row.
    if changed <> '{}' then
        update rowcast.collections c set shape = rowcast.shape(c.relation) where c.key = any (changed);
    end if;
    return cardinality(changed);
end $$;
comment on function rowcast.tend_shapes() is
    'Makes servers read tables again whose columns, foreign keys or unique indexes have changed, and returns how many.';
select rowcast.tend_shapes();

-- What a column's values can be compared with: types of one class have the same texts for the same
-- values. Domains are what they stand on; with elements, arrays are what they hold.
create function rowcast.type_class(type oid, elements boolean) returns text
language sql stable set search_path = pg_catalog, pg_temp
as $$
    with recursive inner_type (oid, depth, unpacked) as (
        select type_class.type, 0, not type_class.elements
        union all
        select case t.typtype when 'd' then t.typbasetype else t.typelem end, i.depth + 1, i.unpacked or t.typtype <> 'd'
        from inner_type i
        join pg_type t using (oid)
        where i.depth < 32 and (t.typtype = 'd'
            or t.typtype = 'b' and t.typcategory = 'A' and t.typelem <> 0 and not i.unpacked)
    )
    select case
        when oid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) then 'integer'
        when oid in ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'name'::regtype) then 'text'
        else format_type(oid, -1) end
    from inner_type
    order by depth desc
    limit 1
$$;
comment on function rowcast.type_class(oid, boolean) is 'A type, or the class of types whose values are comparable as text.';

-- Declared relations after a collection got another name.
create function rowcast.renamed_target(relations jsonb, old_name text, new_name text) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        jsonb_object_agg(e.key, case e.value when old_name then new_name else e.value end), renamed_target.relations)
    from jsonb_each_text(relations) e
$$;
comment on function rowcast.renamed_target(jsonb, text, text) is 'Declared relations with one collection called by another name.';

-- Refuses a name for a path that could be mistaken for something else.
create function rowcast.check_alias(relation regclass, alias text, path text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
begin
    if length(path) > 500 or path !~ '^[A-Za-z0-9_]+([.][A-Za-z0-9_]+)+$' then
        raise exception 'rowcast: relations: % stands for %, which is no path', quote_literal(alias), quote_literal(path)
            using errcode = 'invalid_parameter_value', hint = 'A path is names of relations with dots between them, '
                'at most 500 characters: {"tags": "post_tags_via_post.tag"}.';
    end if;
    if alias !~ '^[A-Za-z_][A-Za-z0-9_]{0,99}$' or alias ~ '_via_' then
        raise exception 'rowcast: relations: % is no name for a path', quote_literal(alias)
            using errcode = 'invalid_name', hint = 'Give one of letters, digits and _, without _via_ in it.';
    end if;
    if alias in ('id', 'collectionId', 'collectionName', 'expand') or exists (
        select from pg_attribute a where a.attrelid = relation and a.attname = alias and a.attnum > 0 and not a.attisdropped)
    then
        raise exception 'rowcast: relations: % cannot be a name for a path: % has a field of that name',
            quote_literal(alias), relation
            using errcode = 'duplicate_column', hint = 'Give the path another name; '
                'if the column itself holds keys, give the collection they belong to: a name without a dot.';
    end if;
end $$;
comment on function rowcast.check_alias(regclass, text, text) is 'Raises an error if a name cannot stand for a path.';

-- Refuses a column that cannot hold keys of that collection. One that is not attached is awaited.
create function rowcast.check_relation(relation regclass, name text, column_name text, target_name text, unseen text[])
    returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    column_type oid := (
        select a.atttypid from pg_attribute a
        where a.attrelid = relation and a.attname = column_name and a.attnum > 0 and not a.attisdropped);
    target regclass := case when target_name = name then relation else (
        select r.oid from rowcast.collections c join pg_class r on r.oid = c.relation where c.name = target_name) end;
    key smallint[] := rowcast.key_columns(target);
    key_type oid := (select a.atttypid from pg_attribute a where a.attrelid = target and a.attnum = key[1]);
begin
    if column_type is null then
        raise exception 'rowcast: relations names the column %, which % has not got', quote_literal(column_name), relation
            using errcode = 'undefined_column', hint = 'A name for a path has a dot in its value. The columns are: ' || (
                select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a
                where a.attrelid = relation and a.attnum > 0 and not a.attisdropped);
    end if;
    if column_name = any (unseen) then
        raise exception 'rowcast: relations: the column % is hidden or never captured', quote_literal(column_name)
            using errcode = 'invalid_parameter_value', hint = 'Leave it out of relations, or show it.';
    end if;
    if target_name !~ '^[A-Za-z_][A-Za-z0-9_]{0,99}$' then
        raise exception 'rowcast: relations: % of % is no collection', quote_literal(target_name), quote_literal(column_name)
            using errcode = 'invalid_name', hint = 'Give the name of the collection whose keys it holds: {"members": "members"}.';
    end if;
    if target is null then
        raise notice 'rowcast: the relation % becomes one when a collection % is attached',
            quote_ident(column_name), quote_ident(target_name);
    elsif cardinality(key) is distinct from 1 then
        raise exception 'rowcast: relations: % cannot hold keys of %, whose key is not one column',
            quote_literal(column_name), quote_literal(target_name)
            using errcode = 'invalid_parameter_value', hint = format('Give %s a primary key of one column, or leave this out.', target);
    elsif rowcast.type_class(column_type, true) <> rowcast.type_class(key_type, false) then
        raise exception 'rowcast: relations: % holds values of type %, but the keys of % are of type %',
            quote_literal(column_name), rowcast.type_class(column_type, true),
            quote_literal(target_name), rowcast.type_class(key_type, false)
            using errcode = 'datatype_mismatch', hint = 'Give the column the type of the keys, or an array of it, or name the collection it belongs to.';
    end if;
end $$;
comment on function rowcast.check_relation(regclass, text, text, text, text[]) is
    'Raises an error if a column cannot hold keys of a collection.';

create function rowcast.check_relations(relation regclass, name text, relations jsonb, unseen text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    entry record;
begin
    if jsonb_typeof(relations) <> 'object' then
        raise exception 'rowcast: relations is of type %, not an object', jsonb_typeof(relations)
            using errcode = 'invalid_parameter_value', hint = 'For example: relations => ''{"members": "members"}''.';
    end if;
    if (select count(*) from jsonb_object_keys(relations)) > 64 then
        raise exception 'rowcast: there are more than 64 relations'
            using errcode = 'invalid_parameter_value', hint = 'Leave out those that foreign keys tell of, and those no rule uses.';
    end if;
    for entry in
        select e.key, jsonb_typeof(e.value) as type, e.value #>> '{}' as text from jsonb_each(relations) e order by e.key
    loop
        if entry.type <> 'string' then
            raise exception 'rowcast: relations: the value of % is of type %, not a text', quote_literal(entry.key), entry.type
                using errcode = 'invalid_parameter_value', hint = 'Give the name of a collection, or a path with dots.';
        elsif entry.text like '%.%' then
            perform rowcast.check_alias(relation, entry.key, entry.text);
        else
            perform rowcast.check_relation(relation, name, entry.key, entry.text, unseen);
        end if;
    end loop;
end $$;
comment on function rowcast.check_relations(regclass, text, jsonb, text[]) is
    'Raises an error that says what to do if relations cannot be declared like this.';

drop function rowcast.attach(regclass, text, text, text, text[], boolean, text, text[], text, text, text[]);
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
    never_captured text[] default '{}',
    relations jsonb default null
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
    wanted.shape := rowcast.shape(target);
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
    wanted.relations := coalesce(
        attach.relations, rowcast.renamed_target(present.relations, present.name, wanted.name), '{}');
    perform rowcast.check_relations(target, wanted.name, wanted.relations, wanted.hidden || wanted.never_captured);
    if present.key is null then
        insert into rowcast.collections (name, relation, attached_oid, hidden, hidden_attnums, include_replicated,
            kind, identity, password, token_key, never_captured, never_captured_attnums, never_captured_oid, relations, shape)
        values (wanted.name, target, target, wanted.hidden, wanted.hidden_attnums, attach.include_replicated,
            wanted.kind, wanted.identity, wanted.password, wanted.token_key,
            wanted.never_captured, wanted.never_captured_attnums, wanted.never_captured_oid, wanted.relations,
            wanted.shape)
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
            update rowcast.collections c
            set relations = rowcast.renamed_target(c.relations, present.name, wanted.name)
            where c.key <> present.key
                and exists (select from jsonb_each_text(c.relations) e where e.value = present.name);
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
        if present.relations <> rowcast.renamed_target(wanted.relations, wanted.name, present.name) then
            done := done || format('relations are now: %s', coalesce(
                (select string_agg(format('%s = %s', e.key, e.value), ', ' order by e.key)
                    from jsonb_each_text(wanted.relations) e), 'none'));
        end if;
        if present.shape <> wanted.shape then
            done := done || 'the table has changed and is read again'::text;
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
                present.never_captured, present.never_captured_attnums, present.never_captured_oid, present.relations,
                present.shape)
            is distinct from (wanted.name, wanted.hidden, wanted.hidden_attnums, target::oid, attach.include_replicated,
                wanted.kind, wanted.identity, wanted.password, wanted.token_key,
                wanted.never_captured, wanted.never_captured_attnums, wanted.never_captured_oid, wanted.relations,
                wanted.shape)
        then
            update rowcast.collections
            set name = wanted.name, hidden = wanted.hidden, hidden_attnums = wanted.hidden_attnums, attached_oid = target,
                include_replicated = attach.include_replicated, kind = wanted.kind, identity = wanted.identity,
                password = wanted.password, token_key = wanted.token_key, never_captured = wanted.never_captured,
                never_captured_attnums = wanted.never_captured_attnums, never_captured_oid = wanted.never_captured_oid,
                relations = wanted.relations, shape = wanted.shape
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
comment on function rowcast.attach(regclass, text, text, text, text[], boolean, text, text[], text, text, text[], jsonb) is
    'Offers a table as a collection, or brings an attached one to this definition; says what it changed. '
    'Rules: null is superusers only, an empty text everybody, other text a rule in PocketBase''s filter language. '
    'With kind => ''auth'' its records log in by the identity columns and the hashes in the password column. '
    'Columns that are never captured, the password and the token key among them, are in no image of the change log. '
    'Relations: {"column": "collection"} for a column of keys or arrays of keys, {"name": "path.of.relations"} for a '
    'name for a path; null leaves them as they are.';

revoke all on all functions in schema rowcast from public;
