-- Demo: a table that hangs on another; deleting a post deletes its comments, and each is an event.
-- May be run again at any time, after posts.sql.

create table if not exists public.comments (
    id uuid primary key default gen_random_uuid(),
    post bigint not null references public.posts (id) on delete cascade,
    author text not null default 'you',
    body text not null,
    created timestamptz not null default now()
);
create index if not exists comments_post on public.comments (post);
comment on table public.comments is 'Demo comments, each on one post.';

select rowcast.attach('public.comments', name => 'comments', list_rule => '', view_rule => '');
