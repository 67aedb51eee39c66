-- What the oracle believes: every change to its tables, written by row triggers of its own.
--
-- They share nothing with rowcast's: another kind of trigger, another table, other functions. Rows of
-- transactions that were rolled back are not there, so what is there is what clients must be told.
create schema oracle;
create sequence oracle.version;
create table oracle.ledger (
    -- Drawn while the row is locked: for any one record it grows in the order of commits.
    seq bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(),
    -- Whoever is visible in here committed before this change was made.
    snap pg_snapshot not null default pg_current_snapshot(),
    coll text not null,
    op "char" not null,
    old_id text,
    old jsonb,
    new_id text,
    new jsonb
);

create function oracle.id_of(image jsonb, composite boolean) returns text language sql immutable
as $$ select case when composite then (image->>'b') || ',' || (image->>'a') else image->>'id' end $$;

-- Gives every version of every row a number of its own, by which its event is recognised.
create function oracle.stamp() returns trigger language plpgsql
as $$ begin new.v := nextval('oracle.version'); return new; end $$;

create function oracle.note() returns trigger language plpgsql
as $$
declare
    before jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
    after jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
    composite boolean := tg_argv[1]::boolean;
begin
    insert into oracle.ledger (coll, op, old_id, old, new_id, new) values (
        tg_argv[0], left(tg_op, 1)::"char",
        oracle.id_of(before, composite), before, oracle.id_of(after, composite), after);
    return null;
end $$;

create function oracle.note_truncate() returns trigger language plpgsql
as $$
begin
    execute format(
        'insert into oracle.ledger (coll, op, old_id, old)
         select %L, ''D'', oracle.id_of(to_jsonb(t), %L), to_jsonb(t) from %s t',
        tg_argv[0], tg_argv[1], tg_relid::regclass);
    return null;
end $$;

-- By the version of a row, what it looked like.
create index on oracle.ledger (((new->>'v')::bigint));
create index on oracle.ledger (((old->>'v')::bigint)) where op <> 'U';

-- The changes as subscribers hear of them: a changed key is a delete and a create. `before` is the row before an update.
create view oracle.events as
select seq, 0 as part, xid, coll, 'create' as action, new_id as id, new as r, null::jsonb as before
from oracle.ledger where op = 'I'
union all
select seq, 0, xid, coll, 'update', new_id, new, old from oracle.ledger where op = 'U' and old_id = new_id
union all
select seq, 0, xid, coll, 'delete', old_id, old, null from oracle.ledger
where op = 'D' or op = 'U' and old_id <> new_id
union all
select seq, 1, xid, coll, 'create', new_id, new, null from oracle.ledger where op = 'U' and old_id <> new_id;

create table public.people (
    id text primary key, email text unique, password_hash text, team text not null);
create table public.mark (id bigint generated always as identity primary key, phase bigint not null);
