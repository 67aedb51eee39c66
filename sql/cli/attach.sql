-- Offers a table as a collection and says what changed.
-- $1 text  table, as one writes it in SQL; $2 text  name or null; $3 text  list rule or null;
-- $4 text  view rule or null; $5 text[]  hidden columns; $6 boolean  include replicated rows;
-- $7 text[], $8 text[]  relations: names and what they lead to; null: as they are
-- $9 text  kind; $10 text[]  identity columns or null; $11 text  password column or null;
-- $12 text  token key column or null; $13 text[]  columns that are never captured
select rowcast.attach(
    $1::text::regclass,
    name => $2,
    list_rule => $3,
    view_rule => $4,
    hidden => $5,
    include_replicated => $6,
    relations => jsonb_object($7::text[], $8::text[]),
    kind => $9,
    identity => $10,
    password => $11,
    token_key => $12,
    never_captured => $13
) as report;
