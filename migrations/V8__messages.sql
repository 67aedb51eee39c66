-- Custom messages: rows of the change log like any other, so that they are told in the order in which
-- they were written, when their transaction has committed, and again to those who were away.

comment on column rowcast.changes.op is
    'I, U, D: insert, update, delete; in small letters where a trigger''s statement did it. T: more rows were truncated than are listed. '
    'M: a custom message, old tells its topic, who it is for and its template, new is its data; m where a trigger sent it. '
    'K: what a record or a superuser proves itself with changed. '
    'C: the catalog or the policy changed. R: a slot was emptied, new tells which transactions it held.';

-- Unlike a trigger, this is called by somebody who means it: bad arguments are errors, and so is
-- whatever keeps the message from being written down.
create function rowcast.send(
    topic text,
    data jsonb default null,
    to_client text default null,
    to_principal text default null,
    filter text default null,
    template text default null,
    context jsonb default null
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    slot bigint := pg_sequence_last_value('rowcast.log_slot');
    bell bigint;
    owner text;
    problem text;
    hint text;
    argument text;
begin
    argument := 'topic';
    hint := 'Name it as its subscribers do, such as ''chat'' or ''chat/42''.';
    owner := (select c.name from rowcast.collections c
        where topic in (c.name, c.id) or starts_with(topic, c.name || '/') or starts_with(topic, c.id || '/')
        limit 1);
    problem := case
        when coalesce(topic, '') = '' then 'a message needs a topic'
        when octet_length(topic) > 255 then format('a topic may have 255 bytes, not %s', octet_length(topic))
        when topic ~ '[\u0001-\u001f\u007f-\u009f]' then 'a topic cannot contain line breaks or other control characters'
        when position('?' in topic) > 0 then 'a topic cannot contain a question mark: behind it stand options'
        when topic in ('*', 'PB_CONNECT') then format('the topic %s is reserved', topic)
        when owner is not null then format('the topic %s belongs to the collection %s', topic, owner)
    end;
    if owner is not null then
        hint := 'What stands there are records, and only changes of its table are told there. Choose another topic.';
    end if;
    if problem is null then
        argument := 'data';
        hint := 'Give an object, such as ''{"text": "hi"}'', or a template and its context.';
        problem := case
            when data is null and template is null then 'a message needs data'
            when data is not null and template is not null then 'a message has data or a template, not both'
            when jsonb_typeof(data) not in ('object', 'array', 'string')
                then format('data must be an object, an array or a string, not a bare %s', jsonb_typeof(data))
            when octet_length(data::text) > 1048576
                then format('data may have 1048576 bytes as text, not %s', octet_length(data::text))
        end;
        if octet_length(data::text) > 1048576 then
            hint := 'Keep what is large in a table, and send its key.';
        end if;
    end if;
    if problem is null and octet_length(coalesce(template, '-')) not between 1 and 255 then
        argument := 'template';
        problem := 'template must be the name of a template, of 1 to 255 bytes';
        hint := 'Name a file in the folder of templates, such as ''chat/line.html''.';
    end if;
    if problem is null and context is not null then
        argument := 'context';
        hint := 'Give an object, whose members the template sees, such as ''{"text": "hi"}''.';
        problem := case
            when template is null then 'context is what a template is filled with, and there is none'
            when jsonb_typeof(context) <> 'object' then format('context must be an object, not a bare %s', jsonb_typeof(context))
            when octet_length(context::text) > 1048576
                then format('context may have 1048576 bytes as text, not %s', octet_length(context::text))
        end;
    end if;
    if problem is null and octet_length(coalesce(to_client, '-')) not between 1 and 255 then
        argument := 'to_client';
        problem := 'to_client must be a client id, of 1 to 255 bytes';
        hint := 'It is what the event PB_CONNECT told the client. Leave it out for everybody who has subscribed.';
    end if;
    if problem is null and (to_principal !~ '^[^/]+/.' or octet_length(to_principal) > 1000) then
        argument := 'to_principal';
        problem := 'to_principal must be a collection and an id';
        hint := 'Write it as the policy does, such as ''members/42''. Leave it out for everybody who has subscribed.';
    end if;
    if problem is null and octet_length(coalesce(filter, '-')) not between 1 and 65536 then
        argument := 'filter';
        problem := 'filter must be a text of 1 to 65536 bytes';
        hint := 'Write a rule, such as ''@client.store.room = "7"''. Leave it out for everybody who has subscribed.';
    end if;
    if problem is not null then
        raise exception 'rowcast: %', problem
            using errcode = 'invalid_parameter_value', hint = hint, column = argument;
    end if;
    if coalesce(slot, 0) = 0 then
        raise warning 'rowcast: the change log is closed, so the message is not sent'
            using hint = 'Start rowcast serve, which opens it.';
        return;
    end if;
    insert into rowcast.changes (slot, xid, lsn, n, collection, op, old, new)
    values (slot, pg_current_xact_id(), pg_current_wal_insert_lsn(), 1, 0,
        -- What a trigger sends stands between the changes of its statement; small letters tell the reader.
        case when pg_trigger_depth() > 0 then 'm'::"char" else 'M'::"char" end,
        jsonb_strip_nulls(jsonb_build_object(
            'topic', topic, 'client', to_client, 'principal', to_principal, 'filter', filter, 'template', template))::text,
        coalesce(data, context, '{}')::text);
    -- Read after the transaction has its number: the reader relies on this order.
    bell := pg_sequence_last_value('rowcast.bell');
    if bell & 1 = 1 then
        perform rowcast.ring(bell);
    end if;
    if right(pg_current_xact_id()::text, 2) = '00' then
        perform rowcast.guard_size(slot);
    end if;
end $$;
comment on function rowcast.send(text, jsonb, text, text, text, text, jsonb) is
    'Sends a custom message to those who have subscribed to a topic, when this transaction commits.';

revoke all on all functions in schema rowcast from public;
