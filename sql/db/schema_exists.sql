-- Whether our schema and refinery's history in it exist. Asked first, because "create … if not
-- exists" demands the right to create even where there is nothing to create.
select to_regnamespace('rowcast') is not null as schema_exists,
       to_regclass('rowcast.schema_history') is not null as history_exists;
