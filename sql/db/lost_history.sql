-- Whether the change log exists and refinery's history is empty, as after a restore without data.
select to_regclass('rowcast.changes') is not null
    and not exists (select from rowcast.schema_history) as lost
