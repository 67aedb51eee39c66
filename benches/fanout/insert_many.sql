-- Rows with numbers in sequence. $1 bigint first number, $2 bigint how many.
insert into public.items (n, owner, slot)
select n, '', 0 from generate_series($1::bigint, $1::bigint + $2::bigint - 1) n
