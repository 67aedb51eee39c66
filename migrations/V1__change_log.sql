-- The change log: what the triggers append to, and what the reader reads.
--
-- Four slots are written in turn. The triggers write to the slot that rowcast.log_slot names;
-- retention empties the oldest slot with TRUNCATE and then moves on, so nothing is ever deleted row
-- by row and no writer waits: TRUNCATE locks one slot nobody writes to, never the parent.

-- Which slot is written now: 1 to 4, or 0 while the log is closed and nothing is recorded.
-- A sequence, because pg_sequence_last_value() reads it without a lock and outside of snapshots.
create sequence rowcast.log_slot minvalue 0 maxvalue 4;
select setval('rowcast.log_slot', 1);

-- The doorbell's flag; see rowcast.fall_asleep(). Even: every reader is awake and polls.
-- Odd: some reader sleeps, and half the value is the time since 1970 in microseconds at which it
-- fell asleep.
create sequence rowcast.bell minvalue 0;
select setval('rowcast.bell', 2);

create table rowcast.changes (
    slot smallint not null,
    xid xid8 not null,
    lsn pg_lsn not null,
    n integer not null,
    collection integer not null,
    op "char" not null,
    old text,
    new text
) partition by list (slot);

comment on table rowcast.changes is 'One row per change to a record of an attached table, kept for a while.';
comment on column rowcast.changes.xid is 'The writing transaction (top level), with epoch.';
comment on column rowcast.changes.lsn is
    'Where the write-ahead log stood when the statement ended, drawn while the row locks are held: for any '
    'one record it grows in commit order. Not a sequence, because that would change the lastval() of the '
    'user''s session.';
comment on column rowcast.changes.n is 'Place within its statement, from 1.';
comment on column rowcast.changes.collection is 'rowcast.collections.key; 0 for control rows.';
comment on column rowcast.changes.op is
    'I, U, D: insert, update, delete; in small letters where a trigger''s statement did it. T: more rows were truncated than are listed. '
    'C: the catalog or the policy changed. R: a slot was emptied, new tells which transactions it held.';

do $$
begin
    for slot in 1..4 loop
        execute format('create table rowcast.changes_%s partition of rowcast.changes for values in (%s)', slot, slot);
        -- The only index: the reader asks by transaction.
        execute format('create index changes_%s_xid on rowcast.changes_%s (xid)', slot, slot);
        -- Emptied by TRUNCATE only, so there is nothing to vacuum; compressing images would cost the writer.
        execute format('alter table rowcast.changes_%s set (autovacuum_enabled = false)', slot);
        execute format(
            'alter table rowcast.changes_%s alter old set storage external, alter new set storage external', slot);
    end loop;
end $$;

create function rowcast.current_database_oid() returns oid
language sql stable set search_path = pg_catalog, pg_temp
as $$ select oid from pg_database where datname = current_database() $$;
comment on function rowcast.current_database_oid() is 'The number of this database within its cluster.';

-- What is true of the log as a whole; one row.
create table rowcast.log_state (
    only_row boolean primary key default true check (only_row),
    incarnation text not null default substr(md5(gen_random_uuid()::text), 1, 8),
    system_identifier bigint not null default (pg_control_system()).system_identifier,
    database_oid oid not null default rowcast.current_database_oid(),
    changes_oid oid not null default 'rowcast.changes'::regclass,
    slot_opened timestamptz not null default now()
);
comment on column rowcast.log_state.incarnation is
    'Changes when continuity is broken; part of every position.';
comment on column rowcast.log_state.system_identifier is
    'The cluster this log was written in; another one means that the log was copied here and says nothing.';
comment on column rowcast.log_state.database_oid is 'The database it was written in; another one means the same.';
comment on column rowcast.log_state.changes_oid is 'The table it was written to; another one means that it came with a dump.';
insert into rowcast.log_state default values;

-- Settings the triggers and functions read; the server writes its own configuration here.
create table rowcast.settings (
    name text primary key,
    value bigint not null,
    note text not null
);
insert into rowcast.settings (name, value, note) values
    ('truncate_rows_max', 10000, 'TRUNCATE reports up to so many records one by one, beyond that a gap'),
    ('log_bytes_max', 4294967296, 'with nobody trimming the log, recording stops when the current slot is larger');
