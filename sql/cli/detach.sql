-- Takes a collection off the feed and says so.
-- $1 text  its name or id
select rowcast.detach($1) as report;
