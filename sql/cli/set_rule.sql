-- Sets a rule of a collection and says so; with the collection's name.
-- $1 text  its name or id; $2 text  kind of rule; $3 text  rule, or null to lock
select rowcast.set_rule($1, $2, $3) as report, (rowcast.named($1)).name;
