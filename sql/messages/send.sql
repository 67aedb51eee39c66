-- Sends a custom message; it is told when this has committed.
-- $1 text  topic
-- $2 text  the data as JSON
-- $3 text  client id, or null
-- $4 text  principal as COLLECTION/ID, or null
-- $5 text  filter, or null
select rowcast.send($1, $2::text::jsonb, $3, $4, $5)
