-- Removes a row from the policy, however often it stands there.
--
-- $1 text: ptype; $2 text[]: v0 to v5, six of them.
delete from rowcast.casbin_rule
where ptype = $1 and array[v0, v1, v2, v3, v4, v5] = $2
