-- Offers the tables to everybody.
select rowcast.attach('public.items', list_rule => '', view_rule => '');
select rowcast.attach('public.bulk', list_rule => '', view_rule => '');
select rowcast.attach('public.marks', list_rule => '', view_rule => '');
