-- The usual way, which we are compared with, and the bare notification that latency is compared with.
create function public.notify_row() returns trigger language plpgsql as $$
begin
    perform pg_notify('items', row_to_json(coalesce(new, old))::text);
    return null;
end $$;
create trigger notify_row after insert or update or delete on public.items
    for each row execute function public.notify_row();
create trigger notify_row after insert or update or delete on public.bulk
    for each row execute function public.notify_row();

create table public.ticks (like public.items including all);
create function public.notify_tick() returns trigger language plpgsql as $$
begin
    perform pg_notify('ticks', new.n::text);
    return null;
end $$;
create trigger notify_tick after insert on public.ticks
    for each row execute function public.notify_tick();
