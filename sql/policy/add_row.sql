-- Adds a row to the policy unless it is there already.
--
-- $1 text: ptype; $2 text[]: v0 to v5, six of them.
insert into rowcast.casbin_rule (ptype, v0, v1, v2, v3, v4, v5)
select $1, ($2::text[])[1], ($2::text[])[2], ($2::text[])[3], ($2::text[])[4], ($2::text[])[5], ($2::text[])[6]
where not exists (
    select from rowcast.casbin_rule
    where ptype = $1 and array[v0, v1, v2, v3, v4, v5] = $2)
