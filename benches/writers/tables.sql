-- What every variant writes to: one-row transactions, whole statements, and marks that show that
-- a server has read everything before them.
create table public.items (
    id bigint generated always as identity primary key,
    n bigint not null,
    title text not null,
    body text not null,
    done boolean not null default false,
    created timestamptz not null default now()
);
create table public.bulk (like public.items including all);
create table public.marks (id bigint generated always as identity primary key, n bigint not null);
