-- For a transaction that reads a record: values as the change log has them.
set local datestyle = iso;
set local intervalstyle = postgres;
set local timezone = utc;
set local bytea_output = hex;
set local search_path = pg_catalog, pg_temp;
