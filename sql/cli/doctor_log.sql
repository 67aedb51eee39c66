-- How the change log is doing, in words.
select item, coalesce(value, '') as value from rowcast.status();
