-- The triggers' side: append to the log, ring if a reader sleeps.
--
-- Everything that runs in a writer's transaction names its schema, operators included, instead of
-- pinning search_path, which was measured to cost a writer 7 % (capture.md, section 1). None of it
-- names a column of the user's table, so no ALTER TABLE can make a write fail; whole rows are written
-- r.*, because a plain r would mean a column of that name.

-- Rings the doorbell: a NOTIFY that is sent when the writer's transaction commits.
create function rowcast.ring(bell bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- A reader that sleeps says so again every 30 seconds. After 90 it is dead, and ringing for
    -- nobody would cost the writers dearly: NOTIFY serialises commits.
    if extract(epoch from clock_timestamp()) * 1000000 - bell / 2 > 90000000 then
        return;
    end if;
    -- A full queue would fail the writer's commit. The reader still has its safety poll.
    if pg_notification_queue_usage() > 0.9 then
        return;
    end if;
    perform pg_notify('rowcast', bell::text);
end $$;
comment on function rowcast.ring(bigint) is 'Wakes the sleeping readers when this transaction commits.';

-- Stops recording when nobody has trimmed the log for so long that it would fill the disk.
create function rowcast.guard_size(slot bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_table_size(to_regclass('rowcast.changes_' || slot))
        > (select value from rowcast.settings where name = 'log_bytes_max')
    then
        perform setval('rowcast.log_slot', 0);
        raise warning 'rowcast: the change log is full and nothing trims it; changes are no longer recorded'
            using hint = 'Start rowcast serve, which empties the log and tells its clients to load afresh; '
                'or detach the tables.';
    end if;
end $$;
comment on function rowcast.guard_size(bigint) is 'Closes the log when its current slot is larger than log_bytes_max.';

-- Four trigger functions, each in two variants. The plain one serves tables whose values have one
-- text form whatever the session's settings; the pinned one costs more and serves tables with
-- intervals, bytea, ranges of times or names of objects, whose text would otherwise depend on the
-- writer's session.
do $migration$
declare
    variant record;
    -- Common to all: $slot$ is where to write, closing with the doorbell.
    head constant text := $body$
#variable_conflict use_variable
declare
    slot bigint := pg_catalog.pg_sequence_last_value('rowcast.log_slot');
    lsn pg_catalog.pg_lsn := pg_catalog.pg_current_wal_insert_lsn();
    bell bigint;
    float_digits pg_catalog.text;
    changed boolean;
    -- A statement of another trigger. Its rows come before those of the statement that fired that trigger,
    -- though they were written after them; small letters tell the reader to look at the order.
    nested boolean := pg_catalog.pg_trigger_depth() operator(pg_catalog.>) 1;
begin
    -- Null in a copy of the schema without its data: nobody opened a log there.
    if coalesce(slot, 0) operator(pg_catalog.=) 0 then
        return null;
    end if;
    -- Fewer digits than a number has, which old programs ask for, would reach the clients.
    if pg_catalog.current_setting('extra_float_digits')::pg_catalog.int4 operator(pg_catalog.<) 1 then
        float_digits := pg_catalog.current_setting('extra_float_digits');
        perform pg_catalog.set_config('extra_float_digits', '1', true);
    end if;
$body$;
    tail constant text := $body$
    changed := found;
    if float_digits is not null then
        perform pg_catalog.set_config('extra_float_digits', float_digits, true);
    end if;
    -- A statement that changed nothing must stay a reading one: no transaction id, no ring.
    if not changed then
        return null;
    end if;
    -- Read after the transaction has its number: the reader relies on this order.
    bell := pg_catalog.pg_sequence_last_value('rowcast.bell');
    if bell operator(pg_catalog.&) 1 operator(pg_catalog.=) 1 then
        perform rowcast.ring(bell);
    end if;
    -- One transaction in a hundred looks at the size of the log.
    if pg_catalog.right(pg_catalog.pg_current_xact_id()::pg_catalog.text, 2) operator(pg_catalog.=) '00' then
        perform rowcast.guard_size(slot);
    end if;
    return null;
end
$body$;
begin
    for variant in
        select * from (values
            ('', ''),
            ('_pinned', 'set datestyle = iso set intervalstyle = postgres set timezone = utc set bytea_output = hex '
                'set search_path = pg_catalog, pg_temp')
        ) v (suffix, settings)
    loop
        execute format('create function rowcast.capture_insert%s() returns trigger language plpgsql security definer %s as %L',
            variant.suffix, variant.settings, head || $body$
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, new)
    select slot, pg_catalog.pg_current_xact_id(), lsn, pg_catalog.row_number() over (), tg_argv[0]::pg_catalog.int4,
        case when nested then 'i'::pg_catalog."char" else 'I'::pg_catalog."char" end,
        pg_catalog.row_to_json(r.*)
    from rowcast_new r;
$body$ || tail);

        execute format('create function rowcast.capture_delete%s() returns trigger language plpgsql security definer %s as %L',
            variant.suffix, variant.settings, head || $body$
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, old)
    select slot, pg_catalog.pg_current_xact_id(), lsn, pg_catalog.row_number() over (), tg_argv[0]::pg_catalog.int4,
        case when nested then 'd'::pg_catalog."char" else 'D'::pg_catalog."char" end,
        pg_catalog.row_to_json(r.*)
    from rowcast_old r;
$body$ || tail);

        -- Old and new rows are paired by place: both transition tables are filled row by row. The
        -- reader does not rely on it; rows whose key differs are paired again there, by key.
        execute format('create function rowcast.capture_update%s() returns trigger language plpgsql security definer %s as %L',
            variant.suffix, variant.settings, head || $body$
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, old, new)
    select slot, pg_catalog.pg_current_xact_id(), lsn, coalesce(o.n, p.n), tg_argv[0]::pg_catalog.int4,
        case when nested then 'u'::pg_catalog."char" else 'U'::pg_catalog."char" end, o.image, p.image
    from (select pg_catalog.row_number() over () as n, pg_catalog.row_to_json(r.*) as image from rowcast_old r) o
    full join (select pg_catalog.row_number() over () as n, pg_catalog.row_to_json(r.*) as image from rowcast_new r) p
        on o.n operator(pg_catalog.=) p.n;
$body$ || tail);

        -- For partitioned tables: row triggers, because Postgres copies them to every partition, also to
        -- those made later, and they see rows written to a partition directly.
        execute format('create function rowcast.capture_row%s() returns trigger language plpgsql security definer %s as %L',
            variant.suffix, variant.settings, head || $body$
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, old, new) values (
        slot, pg_catalog.pg_current_xact_id(), lsn, 1, tg_argv[0]::pg_catalog.int4,
        case when nested then pg_catalog.lower(pg_catalog.left(tg_op, 1)) else pg_catalog.left(tg_op, 1) end
            ::pg_catalog."char",
        case when tg_op operator(pg_catalog.<>) 'INSERT' then pg_catalog.row_to_json(old) end,
        case when tg_op operator(pg_catalog.<>) 'DELETE' then pg_catalog.row_to_json(new) end);
$body$ || tail);
    end loop;
end $migration$;

comment on function rowcast.capture_insert() is 'Statement trigger: appends the inserted rows to the change log.';
comment on function rowcast.capture_update() is 'Statement trigger: appends the rows before and after to the change log.';
comment on function rowcast.capture_delete() is 'Statement trigger: appends the deleted rows to the change log.';
comment on function rowcast.capture_row() is 'Row trigger for partitioned tables: appends one change to the change log.';
comment on function rowcast.capture_insert_pinned() is 'As capture_insert(), with text formats that do not depend on the session.';
comment on function rowcast.capture_update_pinned() is 'As capture_update(), with text formats that do not depend on the session.';
comment on function rowcast.capture_delete_pinned() is 'As capture_delete(), with text formats that do not depend on the session.';
comment on function rowcast.capture_row_pinned() is 'As capture_row(), with text formats that do not depend on the session.';

-- TRUNCATE: rare, so it may take its time. Each partition has its own trigger; the parent's speaks
-- for the partitions that have none yet.
create function rowcast.capture_truncate() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set datestyle = iso set intervalstyle = postgres set timezone = utc set bytea_output = hex
as $$
declare
    slot bigint := pg_sequence_last_value('rowcast.log_slot');
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
                where g.tgrelid = a.relid and g.tgfoid = 'rowcast.capture_truncate'::regproc)
            order by a.place limit 1)
        union all
        select tg_relid where not exists (select from pg_partition_tree(tg_relid))
    loop
        -- What this role may not read in full it cannot list.
        if row_limit >= 0 and has_table_privilege(part, 'select') and not row_security_active(part) then
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
                 select %s, pg_current_xact_id(), %L, row_number() over (), %s, ''D'', row_to_json(r.*) from only %s r',
                slot, pg_current_wal_insert_lsn(), tg_argv[0]::int, part);
        end if;
    end loop;
    bell := pg_sequence_last_value('rowcast.bell');
    if bell & 1 = 1 then
        perform rowcast.ring(bell);
    end if;
    return null;
end $$;
comment on function rowcast.capture_truncate() is
    'Statement trigger before TRUNCATE: appends the rows as deletes, or one mark if they are too many.';

-- A control row: something the readers must know at this place in the log.
create function rowcast.log_control(op "char", note text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    slot bigint := pg_sequence_last_value('rowcast.log_slot');
    bell bigint;
begin
    if coalesce(slot, 0) = 0 then
        return;
    end if;
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, new)
    values (slot, pg_current_xact_id(), pg_current_wal_insert_lsn(), 1, 0, op, note);
    bell := pg_sequence_last_value('rowcast.bell');
    if bell & 1 = 1 then
        perform rowcast.ring(bell);
    end if;
end $$;
comment on function rowcast.log_control("char", text) is 'Appends a control row to the change log.';

create function rowcast.catalog_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform rowcast.log_control('C', tg_table_name);
    return null;
end $$;
comment on function rowcast.catalog_changed() is
    'Statement trigger on the catalog and the policy: the readers load them again at this place in the log.';

-- The readers' side of the doorbell.
--
-- Why no wake-up is lost. A reader sleeps only between fall_asleep() and the next notification with
-- at least the value it returned. (1) A writer that reads the bell after fall_asleep() reads that
-- value or a later one. While it is odd the writer rings with it, and since every listener gets every
-- notification, the reader wakes. The bell turns even only in wake_up(v), which a reader calls after it
-- *heard* v: so a notification with v, at least the sleeper's own value, is already committed
-- and on its way to the sleeper too. (2) A writer that read the bell before fall_asleep() has drawn its
-- transaction id before that, hence below the barrier that fall_asleep() draws afterwards; the reader
-- keeps polling until everything below the barrier has ended.
--
-- The value grows with every call, so that a notification meant for an earlier sleep is recognised.
create function rowcast.fall_asleep(out bell bigint, out barrier text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(x'726f7763'::int, 1);
    bell := greatest((extract(epoch from clock_timestamp()) * 1000000)::bigint,
        pg_sequence_last_value('rowcast.bell') / 2 + 1) * 2 + 1;
    perform setval('rowcast.bell', bell);
    barrier := pg_current_xact_id()::text;
end $$;
comment on function rowcast.fall_asleep() is
    'For a reader: from now on writers ring. It must poll on until every transaction below the barrier has ended.';

create function rowcast.wake_up(heard bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(x'726f7763'::int, 1);
    if pg_sequence_last_value('rowcast.bell') <> heard then
        return false;
    end if;
    perform setval('rowcast.bell', heard + 1);
    return true;
end $$;
comment on function rowcast.wake_up(bigint) is
    'For a reader that heard this value: writers need not ring any more, unless someone fell asleep since.';

-- Retention: empties the oldest slot and moves on to it, when the current one is old or large enough.
create function rowcast.rotate(age interval, changes bigint, bytes bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms'
as $$
declare
    slot bigint := pg_sequence_last_value('rowcast.log_slot');
    next bigint := slot % 4 + 1;
    current regclass := to_regclass('rowcast.changes_' || slot);
    oldest regclass := to_regclass('rowcast.changes_' || next);
    opened timestamptz;
    newest_xid text;
begin
    if not pg_try_advisory_xact_lock(x'726f7763'::int, 2) then
        return 'busy';
    end if;
    if coalesce(slot, 0) = 0 then
        return 'closed';
    end if;
    select slot_opened into opened from rowcast.log_state;
    -- Four slots: three hold what must be kept, the fourth is emptied when the turn comes to it.
    if pg_relation_size(current) = 0
        or not (now() - opened > age / 3
            or pg_stat_get_live_tuples(current) > changes / 3
            or pg_table_size(current) > bytes / 3)
    then
        return 'kept';
    end if;
    begin
        execute format('lock table %s in access exclusive mode', oldest);
    exception when lock_not_available then
        return 'waiting';
    end;
    execute format('select xid::text from %s order by xid desc limit 1', oldest) into newest_xid;
    execute format('truncate %s', oldest);
    update rowcast.log_state set slot_opened = now();
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, new)
    values (next, pg_current_xact_id(), pg_current_wal_insert_lsn(), 1, 0, 'R',
        -- Nobody who is in progress now wrote to the slot: it would still hold its lock.
        coalesce(newest_xid, '0') || ' ' || pg_current_snapshot()::text);
    perform setval('rowcast.log_slot', next);
    return 'rotated';
end $$;
comment on function rowcast.rotate(interval, bigint, bigint) is
    'Trims the change log: rotated, kept (nothing to do), waiting (a writer holds the oldest slot), busy (another node does it), closed.';

-- Start of a server: a log that was closed, or was copied here, is emptied and starts anew.
create function rowcast.open_log() returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '1s'
as $$
declare
    state rowcast.log_state;
    cluster bigint := (select system_identifier from pg_control_system());
    reason text;
    opened integer;
begin
    perform pg_advisory_xact_lock(x'726f7763'::int, 2);
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
        database_oid = excluded.database_oid, changes_oid = excluded.changes_oid, slot_opened = excluded.slot_opened;
    perform setval('rowcast.log_slot', opened);
    -- Readers that are at work now must know, asleep or not: no position they hold means anything any more.
    perform rowcast.log_control('R', 'everything');
    perform rowcast.tend_hidden();
    return reason;
end $$;
comment on function rowcast.open_log() is
    'Makes the log ready for reading: open (it was), or why it was emptied: closed, another cluster, another database, restored.';

-- What a reader needs to know when it connects: the epoch of positions.
create function rowcast.epoch() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select incarnation || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
    from rowcast.log_state
$$;
comment on function rowcast.epoch() is 'The log''s incarnation and the cluster''s timeline: positions compare within one epoch only.';
