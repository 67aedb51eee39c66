-- Does what DDL on attached tables has left to be done.
select rowcast.tend_triggers() as triggers, rowcast.tend_hidden() as hidden, rowcast.tend_shapes() as shapes
