-- Writes one of the settings that the triggers read.
-- $1 text    its name
-- $2 bigint  its value
update rowcast.settings set value = $2 where name = $1 and value <> $2
