-- What is written to, and what the bare LISTEN connection that latency is compared with listens to.
create table public.items (
    id bigint generated always as identity primary key,
    n bigint not null,
    owner text not null,
    slot integer not null,
    status text not null default 'public',
    title text not null default 'What a row costs when many are told of it',
    body text not null default repeat('x', 100),
    created timestamptz not null default now()
);

create table public.ticks (n bigint not null);
create function public.notify_tick() returns trigger language plpgsql as $$
begin
    perform pg_notify('ticks', new.n::text);
    return null;
end $$;
create trigger notify_tick after insert on public.ticks
    for each row execute function public.notify_tick();
