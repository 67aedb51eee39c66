-- Removes the rows that agree with a pattern.
--
-- $1 text: ptype; $2 text[]: what v0 to v5 must be; an empty text agrees with everything.
delete from rowcast.casbin_rule r
where ptype = $1
    and not exists (
        select from unnest(array[r.v0, r.v1, r.v2, r.v3, r.v4, r.v5], $2::text[]) as pair (value, wanted)
        where wanted <> '' and value <> wanted)
