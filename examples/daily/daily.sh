#!/bin/sh
# A daily job: make a table once, then merge each day's file.
#
#   PATH="$PWD/bin:$PATH" examples/daily/daily.sh [DIR]
set -eu

dir=${1:-$(mktemp -d)}
table=$dir/orders
mkdir -p "$dir/in"

# What a source system sends: new rows, corrections, and deletes marked by op.
cat >"$dir/in/2026-11-19.csv" <<'CSV'
order_id,status,amount,updated_at,op,dt
1,placed,10.00,2026-11-19 09:00:00,U,2026-11-19
2,placed,24.90,2026-11-19 10:00:00,U,2026-11-19
3,placed,5.50,2026-11-19 11:00:00,U,2026-11-19
CSV
cat >"$dir/in/2026-11-20.csv" <<'CSV'
order_id,status,amount,updated_at,op,dt
1,shipped,10.00,2026-11-20 08:00:00,U,2026-11-19
3,,,2026-11-20 08:05:00,D,2026-11-19
4,placed,99.00,2026-11-20 12:00:00,U,2026-11-20
CSV

# Once: the table's columns come from --schema, since CSV has no types and its times have no zone.
hupsert upsert "$table" --from "$dir/in/2026-11-19.csv" --create \
	--partition-by dt:date --schema 'order_id bigint, status string, amount decimal(10,2), updated_at timestamp' \
	--key order_id --order-by updated_at --delete-when op=D --source-timezone UTC
hupsert config "$table" --set key=order_id --set order-by=updated_at

# Daily: only the file changes. An older row never overwrites a newer one, and a file that comes twice
# changes nothing. (But the first day's file again would bring order 3 back: Parquet keeps no tombstones.)
for day in 2026-11-20 2026-11-20; do
	hupsert upsert "$table" --from "$dir/in/$day.csv" --delete-when op=D --source-timezone UTC
done

hupsert show "$table"
hupsert history "$table"
