-- Settings of the reading session. The planner cannot know how few rows are new, and would read the
-- whole log; a log read must never wait for a lock that somebody else's DDL holds for long.
set enable_seqscan = off;
set enable_bitmapscan = off;
set jit = off;
-- Each poll reads a few rows by the same indexes: planning it anew costs four times as much as the read, and for a
-- long log the planner would start parallel workers for each.
set plan_cache_mode = force_generic_plan;
set max_parallel_workers_per_gather = 0;
set lock_timeout = '10s';
set statement_timeout = 0;
set idle_session_timeout = 0;
-- What this session writes, the bell, need not survive a crash; a sleeper that was rung must not wait
-- for the disk before it reads.
set synchronous_commit = off
