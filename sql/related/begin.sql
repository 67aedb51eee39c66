-- Begins a reading: one snapshot, from the first query on, for everything that is asked in it.
--
-- With row_security off, a table whose rows are hidden from this role by a policy is an error instead of fewer
-- rows than there are. Formats are those of the triggers that pin theirs. No workers: they would not pay.
begin isolation level repeatable read read only;
set local row_security = off;
set local search_path = pg_catalog, pg_temp;
set local statement_timeout = '2s';
set local lock_timeout = '1s';
set local jit = off;
set local max_parallel_workers_per_gather = 0;
set local datestyle = iso;
set local intervalstyle = postgres;
set local timezone = utc;
set local bytea_output = hex;
set local extra_float_digits = 1;
savepoint clean
