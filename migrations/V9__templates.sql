-- Templates of collections: what makes HTML of a row's changes, for those who ask for it.

alter table rowcast.collections add column templates jsonb not null default '{}';
comment on column rowcast.collections.templates is
    'Which template shows a create, an update and a delete. Change it with rowcast.set_templates().';

create function rowcast.set_templates(
    collection text,
    on_create text default null,
    on_update text default null,
    on_delete text default null
) returns text
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    target rowcast.collections := rowcast.named(collection);
    wanted jsonb := jsonb_strip_nulls(jsonb_build_object('create', on_create, 'update', on_update, 'delete', on_delete));
    bad text := (select t.key from jsonb_each_text(wanted) t where octet_length(t.value) not between 1 and 255 limit 1);
begin
    if bad is not null then
        raise exception 'rowcast: on_% must be the name of a template, of 1 to 255 bytes', bad
            using errcode = 'invalid_parameter_value',
                hint = 'Name a file in the folder of templates, such as ''posts/card.html''; null is no template.';
    end if;
    if wanted = target.templates then
        return format('%s: nothing to change', target.name);
    end if;
    update rowcast.collections c set templates = wanted where c.key = target.key;
    return format('%s: templates are now %s', target.name, coalesce(
        (select string_agg(format('%s %s', t.key, t.value), ', ' order by t.key) from jsonb_each_text(wanted) t), 'none'));
end $$;
comment on function rowcast.set_templates(text, text, text, text) is
    'Says which templates make HTML of a collection''s changes, for those who ask for HTML. Those not given are none.';

revoke all on all functions in schema rowcast from public;
