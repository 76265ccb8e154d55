"""Makes the sources of the benchmark's memory cases from its table: more rows than the table has, in no order.

    python large.py DIR

DIR/table is there. DIR gets changes/large (every row updated and two thirds as many inserted) and changes/parts (half of
those rows, with a column `part` of 2,000 values).
"""

import pathlib
import sys

import duckdb

INSERTED = "hash(l_orderkey, l_linenumber, 7) % 3 < 2"
IN_NO_ORDER = "hash(l_orderkey, l_linenumber)"


def main():
    folder = pathlib.Path(sys.argv[1])
    large, parts = folder / "changes/large/change-0.parquet", folder / "changes/parts/change-0.parquet"
    if parts.exists():
        return
    for out in (large, parts):
        out.parent.mkdir(parents=True, exist_ok=True)
    db = duckdb.connect()
    db.execute("SET threads = 2; SET memory_limit = '6GB'; SET enable_progress_bar = false")
    db.execute(f"SET temp_directory = '{folder}/spill'")
    db.execute(f"CREATE VIEW old AS SELECT * FROM '{folder}/table/*.parquet'")
    last = db.execute("SELECT max(l_orderkey) FROM old").fetchone()[0]
    db.execute(f"""COPY (
        SELECT * REPLACE ((l_extendedprice + 1.00)::DECIMAL(15, 2) AS l_extendedprice) FROM old
        UNION ALL
        SELECT * REPLACE (l_orderkey + {last} AS l_orderkey) FROM old WHERE {INSERTED}
        ORDER BY {IN_NO_ORDER}) TO '{large}' (FORMAT parquet)""")
    whole = parts.with_suffix(".new")  # renamed last: what is there is whole
    db.execute(f"""COPY (
        SELECT *, (hash(l_orderkey, 5) % 2000)::INTEGER AS part FROM '{large}' WHERE {IN_NO_ORDER} % 2 = 0
        ) TO '{whole}' (FORMAT parquet)""")
    whole.rename(parts)


if __name__ == "__main__":
    main()
