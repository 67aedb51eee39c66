-- Settings of the reading session. The planner cannot know how few rows are new, and would read the
-- whole log; a log read must never wait for a lock that somebody else's DDL holds for long.
set enable_seqscan = off;
set enable_bitmapscan = off;
set jit = off;
set lock_timeout = '10s';
set statement_timeout = 0;
set idle_session_timeout = 0;
-- What this session writes, the bell, need not survive a crash; a sleeper that was rung must not wait
-- for the disk before it reads.
set synchronous_commit = off
