-- Goes on from begin.sql for somebody who reads a whole table, page by page. The planner cannot know how few
-- rows of the change log are new; and rows in the order of their keys come from the key's index at once, where a
-- sort would come first. So neither scans of whole tables, as in begin.sql, nor bitmaps.
set local statement_timeout = '10s';
set local enable_bitmapscan = off;
set local cursor_tuple_fraction = 0.01
