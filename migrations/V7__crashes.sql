-- What a disk that fills up, and a crash of Postgres, must not do: fail a writer, and leave a hole that nobody sees.

insert into rowcast.settings (name, value, note) values
    ('log_reserve', 16777216, 'recording stops while less room than this is left below the log; 0: never');

-- Asks for so much room wherever the log lies, and gives it back at once. No function tells an ordinary role how much
-- room a disk has, but a query that spills into temporary files fails when there is too little; it writes no
-- write-ahead log, draws no transaction id, and leaves nothing behind.
create function rowcast.log_room(wanted bigint) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp set work_mem = '64kB' set jit = off
as $$
declare
    spaces text[] := array(
        select distinct coalesce(quote_ident(t.spcname), '')
        from pg_class c left join pg_tablespace t on t.oid = c.reltablespace
        where c.oid in (select to_regclass('rowcast.changes_' || slot) from generate_series(1, 4) slot)
            or c.oid in (select indexrelid from pg_index where indrelid in (
                select to_regclass('rowcast.changes_' || slot) from generate_series(1, 4) slot)));
    space text;
    -- Random, because a file system may compress.
    pad text := (select string_agg(gen_random_uuid()::text, '') from generate_series(1, 1820));
begin
    -- Two at a time would take each other's room for the disk's.
    perform pg_advisory_xact_lock(x'726f7763'::int, 3);
    foreach space in array spaces loop
        begin
            perform set_config('temp_tablespaces', space, true);
            perform count(*) from (
                with filler as materialized (select pad from generate_series(1, wanted / octet_length(pad) + 1))
                select from filler) f;
        exception
            when disk_full then
                return 'short';
            when others then
                -- A limit of temporary files, or a tablespace we may make none in.
                return format('unknown: %s (tablespace "%s")', sqlerrm, space);
        end;
    end loop;
    return 'enough';
end $$;
comment on function rowcast.log_room(bigint) is
    'Whether so many bytes are free wherever the change log lies: enough, short, or unknown and why.';

-- What retention wants to know every second while changes come in; asks for room only if the log has grown by a
-- part of the reserve since, or if told to. Closes it when there is too little.
create function rowcast.look_at_log(seen bigint, always boolean, out room text, out bytes bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    reserve bigint := coalesce((select value from rowcast.settings where name = 'log_reserve'), 0);
begin
    select coalesce(sum(pg_total_relation_size(to_regclass('rowcast.changes_' || slot))), 0) into bytes
    from generate_series(1, 4) slot;
    room := case
        when coalesce(pg_sequence_last_value('rowcast.log_slot'), 0) = 0 then 'closed'
        when reserve = 0 then 'unasked'
        -- Twice what came since the last look, if that is more than the reserve.
        when always or bytes - seen > reserve / 8
            then rowcast.log_room(greatest(reserve, least((bytes - seen) * 2, 268435456)))
        else 'unasked'
    end;
    -- Here, because who asks once more takes the room once more. rowcast.open_log() opens it again.
    if room = 'short' then
        perform setval('rowcast.log_slot', 0);
    end if;
end $$;
comment on function rowcast.look_at_log(bigint, boolean) is
    'The size of the change log and whether there is room for more: enough, short (it is closed now), closed (it was), unasked, or unknown and why.';

-- Lives. A crash of Postgres takes back transactions that did not wait for the disk, and gives their ids to others. A
-- position from before would claim that those others were delivered. So positions name the life of Postgres they were
-- made in, and of one from an earlier life no more is believed than what was on disk for certain.
create table rowcast.lives (
    place integer primary key,
    name text not null unique default substr(md5(gen_random_uuid()::text), 1, 6),
    first_xid xid8 not null,
    began timestamptz not null default now()
);
comment on table rowcast.lives is 'One row per crash of Postgres that was noticed; the life before the first has no row and no name.';
comment on column rowcast.lives.first_xid is 'Below it no transaction id was given twice: it was on disk before the crash.';

-- Unlogged, so a crash empties it and nothing else does: not a restart, not a lost connection.
create unlogged table rowcast.alive (
    life integer not null
);
comment on table rowcast.alive is 'Which of rowcast.lives this is (0: the first); empty when Postgres has crashed and nobody has noticed yet.';
insert into rowcast.alive values (0);

alter table rowcast.log_state add column durable_xid xid8 not null default pg_current_xact_id();
comment on column rowcast.log_state.durable_xid is 'A transaction id that is on disk: after a crash no id below it is given again.';

create function rowcast.tend_life() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    this_life integer;
begin
    perform pg_advisory_xact_lock(x'726f7763'::int, 4);
    if exists (select from rowcast.alive) then
        return;
    end if;
    -- Before anybody makes a position in it.
    perform set_config('synchronous_commit', 'local', true);
    insert into rowcast.lives (place, first_xid)
    select coalesce(max(l.place), 0) + 1, (select durable_xid from rowcast.log_state) from rowcast.lives l
    returning place into this_life;
    insert into rowcast.alive values (this_life);
end $$;
comment on function rowcast.tend_life() is 'Begins a new life if Postgres has crashed since the last one was begun.';

create function rowcast.note_durable() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- First, so that no id of this life is taken for one of the last.
    perform rowcast.tend_life();
    perform set_config('synchronous_commit', 'local', true);
    update rowcast.log_state set durable_xid = pg_current_xact_id();
end $$;
comment on function rowcast.note_durable() is 'Notes a transaction id that is on disk when this returns.';

-- What a position of an earlier life may still claim.
create function rowcast.believed_below(life_name text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select min(l.first_xid)::text
    from rowcast.lives l
    where l.place > (select case when life_name = '' then 0 else (select k.place from rowcast.lives k where k.name = life_name) end)
$$;
comment on function rowcast.believed_below(text) is
    'The first transaction id that a position of an earlier life must not claim; null for a life that nobody knows.';

create or replace function rowcast.epoch() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.incarnation || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
        || coalesce((select coalesce('.' || l.name, '')
            from rowcast.alive a left join rowcast.lives l on l.place = a.life), '.?')
    from rowcast.log_state s
$$;
comment on function rowcast.epoch() is
    'The log''s incarnation and the cluster''s timeline, then a dot and the life of Postgres if it has ever crashed: positions '
    'compare within one epoch only.';

create or replace function rowcast.open_log() returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '1s'
as $$
declare
    state rowcast.log_state;
    cluster bigint := (select system_identifier from pg_control_system());
    reserve bigint := coalesce((select value from rowcast.settings where name = 'log_reserve'), 0);
    reason text;
    opened integer;
begin
    perform pg_advisory_xact_lock(x'726f7763'::int, 2);
    perform rowcast.tend_life();
    select * into state from rowcast.log_state;
    reason := case
        when state.system_identifier <> cluster then 'another cluster'
        when state.database_oid <> rowcast.current_database_oid() then 'another database'
        when state.changes_oid <> 'rowcast.changes'::regclass then 'restored'
        when coalesce(pg_sequence_last_value('rowcast.log_slot'), 0) = 0 then 'closed'
    end;
    if reason is null then
        perform rowcast.tend_hidden();
        return 'open';
    end if;
    -- Twice the reserve, or it would be closed again at once. What a closed log still holds means nothing to anybody any
    -- more, and may be the room that is missing: it is given back when this commits, and the next attempt finds it.
    if reason = 'closed' and reserve > 0 and rowcast.log_room(reserve * 2) = 'short' then
        perform set_config('lock_timeout', '100ms', true);
        for slot in 1..4 loop
            begin
                if pg_relation_size(to_regclass('rowcast.changes_' || slot)) > 0 then
                    execute format('truncate rowcast.changes_%s', slot);
                end if;
            exception when lock_not_available or disk_full then
                null;
            end;
        end loop;
        return 'full';
    end if;
    for slot in 1..4 loop
        begin
            -- Writers queue behind us for so long at most.
            perform set_config('lock_timeout', '100ms', true);
            execute format('lock table rowcast.changes_%s in access exclusive mode', slot);
            execute format('truncate rowcast.changes_%s', slot);
            opened := coalesce(opened, slot);
        exception when lock_not_available then
            -- A long transaction has written to it. What it wrote in this very log is true; what was
            -- copied here would be told as news one day.
            if reason <> 'closed' then
                raise;
            end if;
        end;
    end loop;
    if opened is null then
        raise exception 'rowcast: the change log cannot be started anew: transactions that wrote to it are still open'
            using errcode = 'lock_not_available', hint = 'Look for long transactions in pg_stat_activity.';
    end if;
    insert into rowcast.log_state default values
    on conflict (only_row) do update
    set incarnation = excluded.incarnation, system_identifier = excluded.system_identifier,
        database_oid = excluded.database_oid, changes_oid = excluded.changes_oid, slot_opened = excluded.slot_opened,
        durable_xid = excluded.durable_xid;
    perform setval('rowcast.log_slot', opened);
    -- Readers that are at work now must know, asleep or not: no position they hold means anything any more.
    perform rowcast.log_control('R', 'everything');
    perform rowcast.tend_hidden();
    return reason;
end $$;
comment on function rowcast.open_log() is
    'Makes the log ready for reading: open (it was), or why it was emptied: closed, another cluster, another database, restored; '
    'or full: it stays closed for want of room.';
