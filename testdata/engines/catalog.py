"""Reads the files of a table's partitions with DuckDB.

    python catalog.py DIR COLUMN...     DIR/dt=.../*.parquet: each row's columns as text, one JSON list a line; what a file
                                        lacks is null
"""

import glob
import json
import sys

import duckdb

folder, columns = sys.argv[1], sys.argv[2:]
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
# A folder with a file that has no rows is a partition all the same.
if files := sorted(glob.glob(f"{folder}/*/*.parquet")):
    rows = db.read_parquet(files, hive_partitioning=True, union_by_name=True)
    types = dict(zip(rows.columns, map(str, rows.types)))
    # Instants are written in UTC, without the zone.
    texts = [
        "NULL" if c not in types else f'"{c}"::TIMESTAMP::VARCHAR' if "TIMESTAMP" in types[c] else f'"{c}"::VARCHAR' for c in columns
    ]
    for row in rows.project(", ".join(texts)).fetchall():
        print(json.dumps(row))
