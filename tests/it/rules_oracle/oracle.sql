-- The rule language's values and comparisons in SQL, as sections 5.5, 5.6 and 5.10 of the contract describe them.
-- Written from the contract, not from src/rules, which it is the judge of.
--
-- A value is jsonb: NULL is NULL; a text is a string; an integer is a number; a real is a list of one number (or of
-- the text of one, where JSON has no such number), because 5 and 5.0 are not the same text.
--
-- What a value comes from is a letter:
--   b  known before the row: literals, macros, values of the request
--   j  JSON
--   t  a column with the affinity TEXT
--   n  a column with the affinity NUMERIC
--   c  an expression over columns, with no affinity
create schema oracle;

create function oracle.real(x float8) returns jsonb language sql immutable as $$
    select case when x is null or x = 'NaN' then null else jsonb_build_array(x) end
$$;

-- What a column of numbers stores.
create function oracle.number(x numeric) returns jsonb language sql immutable as $$
    select case
        when x = 'NaN' then '"NaN"'
        when abs(x) = 'Infinity' then oracle.real(x::float8)
        when trunc(x) = x and x between -9223372036854775808 and 9223372036854775807 then to_jsonb(trim_scale(x))
        when trunc(x::float8) = x::float8 and abs(x::float8) < 9223372036854775808 then to_jsonb(x::float8::int8)
        else oracle.real(x::float8) end
$$;

create function oracle.number(x float8) returns jsonb language sql immutable as $$
    select case
        when x = 'NaN' then '"NaN"'
        when trunc(x) = x and abs(x) < 9223372036854775808 then to_jsonb(x::int8)
        else oracle.real(x) end
$$;

create function oracle.date(x timestamptz) returns jsonb language sql stable as $$
    select to_jsonb(case
        when x is null then ''
        when isfinite(x) then to_char(x at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') || 'Z'
        else x::text end)
$$;

-- JSON without the blanks that Postgres writes.
create function oracle.compact(x jsonb) returns text language plpgsql immutable as $$
begin
    return case jsonb_typeof(x)
        when 'object' then (
            select '{' || coalesce(string_agg(to_json(m.key)::text || ':' || oracle.compact(m.value), ',' order by m.at), '') || '}'
            from jsonb_each(x) with ordinality m (key, value, at))
        when 'array' then (
            select '[' || coalesce(string_agg(oracle.compact(m.value), ',' order by m.at), '') || ']'
            from jsonb_array_elements(x) with ordinality m (value, at))
        else x::text end;
end $$;

create function oracle.of_json(x jsonb) returns jsonb language sql immutable as $$
    select case jsonb_typeof(x)
        when 'null' then null
        when 'string' then x
        when 'boolean' then case when x = 'true' then '1'::jsonb else '0' end
        when 'number' then case
            when x::text ~ '^-?[0-9]+$' and x::text::numeric between -9223372036854775808 and 9223372036854775807 then x
            else oracle.real(x::text::float8) end
        else to_jsonb(oracle.compact(x)) end
$$;

-- The item of a list; Postgres takes a scalar for a list of one.
create function oracle.item(x jsonb, at int) returns jsonb language sql immutable as $$
    select case when jsonb_typeof(x) = 'array' then x -> at end
$$;

-- An option of the subscription; a number if it is called like a field of numbers.
create function oracle.option(x text, number boolean) returns jsonb language sql immutable as $$
    select case when number and x ~ '^[+-]?[0-9]+([.][0-9]+)?$' then oracle.real(x::float8) else to_jsonb(x) end
$$;

-- The text of a number as SQLite writes it; 15 digits of a real, and always a dot.
create function oracle.text(v jsonb) returns text language plpgsql immutable as $$
declare
    x float8;
    written text;
begin
    case jsonb_typeof(v)
        when 'string' then return v #>> '{}';
        when 'number' then return v::text;
        when 'array' then
            x := (v ->> 0)::float8;
            if abs(x) = 'Infinity' then
                return case when x > 0 then 'Inf' else '-Inf' end;
            end if;
            written := (x::numeric)::float8::text;
            if written ~ '[.]' then
                return written;
            elsif written ~ 'e' then
                return replace(written, 'e', '.0e');
            end if;
            return written || '.0';
        else return null;
    end case;
end $$;

-- Text that looks like a number is one.
create function oracle.numeric(v jsonb) returns jsonb language plpgsql immutable as $$
declare
    written text;
begin
    if jsonb_typeof(v) = 'string' then
        written := btrim(v #>> '{}', E' \t\n\x0b\f\r');
        if written ~ '^[+-]?[0-9]+$' and written::numeric between -9223372036854775808 and 9223372036854775807 then
            return to_jsonb(written::numeric);
        elsif written ~ '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$' then
            return oracle.real(written::float8);
        end if;
    end if;
    return v;
end $$;

-- A number so that all of them can be compared exactly.
create function oracle.exact(v jsonb) returns numeric language plpgsql immutable as $$
declare
    x float8;
begin
    if jsonb_typeof(v) = 'number' then
        return v::text::numeric;
    end if;
    x := (v ->> 0)::float8;
    if trunc(x) = x and abs(x) < 9223372036854775808 then
        return x::int8;
    end if;
    return x::text::numeric;
end $$;

-- -1, 0 or 1; NULL if one is NULL. Numbers before texts.
create function oracle.rank(l jsonb, lo text, r jsonb, ro text) returns int language plpgsql immutable as $$
declare
    lt text;
    rt text;
begin
    if l is null or r is null then
        return null;
    end if;
    if lo = 'n' or ro = 'n' then
        l := oracle.numeric(l);
        r := oracle.numeric(r);
    elsif lo = 't' or ro = 't' then
        l := to_jsonb(oracle.text(l));
        r := to_jsonb(oracle.text(r));
    end if;
    lt := jsonb_typeof(l);
    rt := jsonb_typeof(r);
    if lt = 'string' and rt = 'string' then
        lt := l #>> '{}';
        rt := r #>> '{}';
        return case when lt collate "C" < rt then -1 when lt = rt then 0 else 1 end;
    elsif lt = 'string' then
        return 1;
    elsif rt = 'string' then
        return -1;
    end if;
    -- No difference is made: two infinities have none.
    return case when oracle.exact(l) = oracle.exact(r) then 0 when oracle.exact(l) < oracle.exact(r) then -1 else 1 end;
end $$;

create function oracle.equals(l jsonb, lo text, r jsonb, ro text) returns boolean language plpgsql immutable as $$
declare
    l_empty boolean := lo = 'b' and (l is null or l = '""');
    r_empty boolean := ro = 'b' and (r is null or r = '""');
begin
    if lo = 'j' or ro = 'j' then
        return (l is null and r is null) or coalesce(oracle.rank(l, lo, r, ro) = 0, false);
    elsif l_empty and r_empty then
        return true;
    elsif (lo = 'b' and not l_empty) or (ro = 'b' and not r_empty) then
        return oracle.rank(
            case when l_empty then '""' else l end, lo,
            case when r_empty then '""' else r end, ro) = 0;
    elsif l_empty then
        return r is null or r = '""';
    elsif r_empty then
        return l is null or l = '""';
    end if;
    return oracle.rank(coalesce(l, '""'), 'c', coalesce(r, '""'), 'c') = 0;
end $$;

-- A value known before the row as a pattern.
create function oracle.pattern(v jsonb) returns text language plpgsql immutable as $$
declare
    written text := case jsonb_typeof(v) when 'array' then trim_scale((v ->> 0)::numeric)::text else v #>> '{}' end;
begin
    if written ~ '^([^\\%]|\\.)*%' then
        return written;
    end if;
    return '%' || reverse(regexp_replace(reverse(written), '([\\%_])\\?', '\1\\', 'g')) || '%';
end $$;

create function oracle.lower(x text) returns text language sql immutable as $$
    select translate(x, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')
$$;

create function oracle.lower(v jsonb) returns jsonb language sql immutable as $$
    select to_jsonb(oracle.lower(oracle.text(v)))
$$;

create function oracle.is_like(l jsonb, r jsonb, ro text) returns boolean language plpgsql immutable as $$
declare
    pattern text := case when ro = 'b' then oracle.pattern(r) else '%' || oracle.text(r) || '%' end;
begin
    if length(substring(pattern from '\\*$')) % 2 = 1 then
        -- It escapes nothing, and so matches nothing.
        return case when l is not null then false end;
    end if;
    return oracle.lower(oracle.text(l)) like oracle.lower(pattern);
end $$;

-- `left operator right`, of the operators without a question mark.
create function oracle.holds(op text, l jsonb, lo text, r jsonb, ro text) returns boolean language plpgsql immutable as $$
begin
    return case op
        when '=' then oracle.equals(l, lo, r, ro)
        when '!=' then not coalesce(oracle.equals(l, lo, r, ro), false)
        when '>' then oracle.rank(l, lo, r, ro) > 0
        when '>=' then oracle.rank(l, lo, r, ro) >= 0
        when '<' then oracle.rank(l, lo, r, ro) < 0
        when '<=' then oracle.rank(l, lo, r, ro) <= 0
        when '~' then oracle.is_like(l, r, ro)
        when '!~' then not oracle.is_like(l, r, ro) end;
end $$;

create function oracle.radians(v jsonb) returns float8 language sql immutable as $$
    select case when jsonb_typeof(oracle.numeric(v)) <> 'string' then
        radians((case jsonb_typeof(oracle.numeric(v)) when 'array' then oracle.numeric(v) ->> 0 else oracle.numeric(v)::text end)::float8)
    end
$$;

create function oracle.distance(lon_a jsonb, lat_a jsonb, lon_b jsonb, lat_b jsonb) returns jsonb language plpgsql immutable as $$
declare
    a float8 := oracle.radians(lat_a);
    b float8 := oracle.radians(lat_b);
    c float8 := oracle.radians(lon_b) - oracle.radians(lon_a);
    cosine float8;
begin
    -- What is infinite has no cosine, and no distance.
    if abs(a) = 'Infinity' or abs(b) = 'Infinity' or c in ('Infinity', '-Infinity', 'NaN') then
        return null;
    end if;
    cosine := cos(a) * cos(b) * cos(c) + sin(a) * sin(b);
    return case when abs(cosine) <= 1 then oracle.real(6371 * acos(cosine)) end;
end $$;

-- The moment that a text means, if it is a date as records have them.
create function oracle.moment(v jsonb) returns timestamp language sql immutable as $$
    select case when jsonb_typeof(v) = 'string' and v #>> '{}' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z?)?$'
        then rtrim(v #>> '{}', 'Z')::timestamp end
$$;

-- Who asks; what is not known is NULL.
create table oracle.principal (
    ord int primary key, auth text, id text, collection_id text, email text, email_visibility boolean, verified boolean,
    query jsonb not null, headers jsonb not null
);

-- Which rows a filter of a principal may look at.
create table oracle.visible (principal int, collection text, rid text);
create index on oracle.visible (principal, collection, rid);
