-- One row gets another number. $1 bigint id, $2 bigint number.
update public.items set n = $2 where id = $1
