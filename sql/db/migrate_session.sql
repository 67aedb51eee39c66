-- Prepares the session that migrates: whatever the role's own settings are, ours hold here.
-- Only names that say their schema are found, and no lock is waited for so long that the
-- statements of others queue up behind us.
set search_path = pg_catalog, pg_temp;
set statement_timeout = 0;
set idle_in_transaction_session_timeout = 0;
set default_transaction_isolation = 'read committed';
set client_min_messages = warning;
set lock_timeout = '10s';
