-- One row. $1 bigint number, $2 text owner, $3 integer slot.
insert into public.items (n, owner, slot) values ($1, $2, $3)
