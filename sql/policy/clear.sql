-- Removes the policy: rules and roles. Rows of kinds that are not ours stay.
delete from rowcast.casbin_rule
where ptype in ('p', 'g')
