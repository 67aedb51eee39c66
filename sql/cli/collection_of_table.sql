-- The name of the collection that a table is offered as.
-- $1 text  table, as one writes it in SQL
select c.name from rowcast.collections c where c.relation = $1::text::regclass;
