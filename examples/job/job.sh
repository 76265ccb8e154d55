#!/bin/sh
# A daily job that is written down: two tables, expectations, and a hook. The second day's file breaks an expectation.
#
#   PATH="$PWD/bin:$PATH" examples/job/job.sh [DIR]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$(mktemp -d)}
mkdir -p "$dir/in"

cat >"$dir/in/orders-2026-11-20.csv" <<'CSV'
order_id,status,amount,dt
1,placed,10.00,2026-11-20
2,shipped,24.90,2026-11-20
CSV
cat >"$dir/in/items-2026-11-20.csv" <<'CSV'
order_id,line_no,article,dt
1,1,pen,2026-11-20
2,1,ink,2026-11-20
2,2,paper,2026-11-20
CSV
cat >"$dir/in/orders-2026-11-21.csv" <<'CSV'
order_id,status,amount,dt
3,plcaed,7.50,2026-11-21
CSV

cd "$dir"
export WAREHOUSE="$dir"
hupsert job check "$here/orders.yaml" --set DAY=2026-11-20
hupsert run "$here/orders.yaml" --set DAY=2026-11-20
cat published.txt

# A status that nobody knows: nothing of that day is published, and the second step is not run.
if hupsert run "$here/orders.yaml" --set DAY=2026-11-21; then
	echo "it should have been stopped" >&2
	exit 1
fi
hupsert show orders
