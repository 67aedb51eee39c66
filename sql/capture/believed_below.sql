-- What a position of an earlier life of Postgres may still claim; null if nobody knows that life.
-- $1 text  the life's name, empty for the first
select rowcast.believed_below($1) as xid
