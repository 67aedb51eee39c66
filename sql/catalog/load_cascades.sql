-- Which attached tables lose rows when rows of another attached table are deleted.
select p.key as parent, c.key as child
from pg_constraint f
join rowcast.collections c on c.relation = f.conrelid
join rowcast.collections p on p.relation = f.confrelid
where f.contype = 'f' and f.confdeltype = 'c' and f.conrelid <> f.confrelid
