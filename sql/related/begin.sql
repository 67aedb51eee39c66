-- Begins a reading: one snapshot, from the first query on, for everything that is asked in it.
--
-- With row_security off, a table whose rows are hidden from this role by a policy is an error instead of fewer
-- rows than there are. Formats are those of the triggers that pin theirs. No workers: they would not pay.
--
-- A table may have grown since it was analyzed. Statistics from when it was small promise that to read all of it is
-- cheap, for every key; and a plan kept from then may use the wrong one of two indexes. So an index is used where
-- there is one, chosen anew each time for the table as large as it is: some 30 us per statement.
begin isolation level repeatable read read only;
set local row_security = off;
set local search_path = pg_catalog, pg_temp;
set local statement_timeout = '2s';
set local lock_timeout = '1s';
set local enable_seqscan = off;
set local plan_cache_mode = force_custom_plan;
set local jit = off;
set local max_parallel_workers_per_gather = 0;
set local datestyle = iso;
set local intervalstyle = postgres;
set local timezone = utc;
set local bytea_output = hex;
set local extra_float_digits = 1;
savepoint clean
