-- One small random change to the demo's tables, and whatever keeps them small: about 30 posts and
-- 60 comments. Rows that a visitor adds are treated like all others.

do $$
declare
    dice double precision := random();
    names constant text[] := array['ada', 'grace', 'edsger', 'barbara', 'donald', 'margaret'];
    words constant text[] := array['triggers', 'snapshots', 'streams', 'cursors', 'frames', 'topics', 'doorbells', 'rivers'];
    name text := names[1 + floor(random() * 6)];
    word text := words[1 + floor(random() * 8)];
    chosen bigint := (select id from public.posts order by random() limit 1);
begin
    if chosen is null or dice < 0.30 then
        insert into public.posts (title, body, author, tags)
        values (format('On %s', word), format('What %s thinks of %s.', name, word), name, array[word, 'demo']);
    elsif dice < 0.55 then
        insert into public.comments (post, author, body)
        values (chosen, name, format('More about %s, please!', word));
    elsif dice < 0.80 then
        update public.posts set votes = votes + 1, updated = now() where id = chosen;
    elsif dice < 0.88 then
        insert into public.drafts (title, notes) values (format('Unfinished %s', word), jsonb_build_object('by', name));
    else
        delete from public.comments where id = (select id from public.comments order by random() limit 1);
    end if;

    if (select count(*) from public.posts) > 30 then
        delete from public.posts where id = (select min(id) from public.posts);
    end if;
    if (select count(*) from public.comments) > 60 then
        delete from public.comments where id = (select id from public.comments order by created limit 1);
    end if;
    if (select count(*) from public.drafts) > 20 then
        delete from public.drafts where id = (select min(id) from public.drafts);
    end if;
end $$;
