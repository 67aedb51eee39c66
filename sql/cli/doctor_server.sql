-- The server, and what about it matters to us.
select current_setting('server_version') as version,
       current_setting('server_version_num')::integer as version_num,
       current_user::text as role,
       pg_is_in_recovery() as standby,
       current_setting('max_connections')::integer as max_connections,
       current_setting('max_prepared_transactions')::integer as max_prepared_transactions,
       current_setting('session_replication_role') as replication_role,
       -- Transactions this old keep the reader's bookkeeping and the whole server's dead rows.
       (select count(*) from pg_stat_activity
        where backend_type = 'client backend' and xact_start < now() - interval '1 hour') as old_transactions,
       (select count(*) from pg_prepared_xacts
        where prepared < now() - interval '1 hour') as old_prepared;
