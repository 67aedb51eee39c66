-- Where clients that name themselves by a key go on after they were away.

-- Rewritten in place again and again: room for that in each page, and no index but the key's.
create table rowcast.resume_points (
    key bytea primary key check (octet_length(key) = 32),
    position text not null,
    saved_at timestamptz not null default now()
) with (fillfactor = 70);
comment on table rowcast.resume_points is
    'Up to which position a subscription with the option resume was told what happened. The key is a digest of who '
    'subscribed to what under which name; nobody can read any of it here.';

revoke all on rowcast.resume_points from public;
