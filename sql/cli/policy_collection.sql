-- A collection's name, by its name or id; an error that lists those there are if it is none.
--
-- $1 text: name or id.
select (rowcast.named($1)).name
