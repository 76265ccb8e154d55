"""A merge as a user of another tool would write it today: one call of this script is one measured run.

    python merge.py duckdb|polars|delta TASK

TASK is JSON: {"table": DIR, "changes": DIR, "out": DIR, "key": [...], "mode": "upsert"|"update"|"delete", "columns": [...],
"compression": ...}, where `columns` are those that an update brings beside the key. DuckDB and Polars write the merged rows
into `out`; delta-rs merges `out`, which holds the table already (`merge.py delta-table TASK`, not measured).
"""

import json
import pathlib
import sys


def duckdb_merge(task):
    """Anti-join and union, or a left join. Each thread writes a file of its own, in any order: the fastest way DuckDB has."""
    import duckdb

    key = ", ".join(task["key"])
    old, new = (f"'{task[name]}/*.parquet'" for name in ("table", "changes"))
    match task["mode"]:
        case "update":
            values = ", ".join(f"coalesce(new.{c}, old.{c}) AS {c}" for c in task["columns"])
            query = f"SELECT old.* REPLACE ({values}) FROM {old} old LEFT JOIN {new} new USING ({key})"
        case "delete":
            query = f"SELECT * FROM {old} old ANTI JOIN {new} new USING ({key})"
        case _:
            query = f"SELECT * FROM {old} old ANTI JOIN {new} new USING ({key}) UNION ALL SELECT * FROM {new}"
    db = duckdb.connect()
    db.execute("SET preserve_insertion_order = false")
    db.execute(f"COPY ({query}) TO '{task['out']}' (FORMAT parquet, COMPRESSION {task['compression']}, PER_THREAD_OUTPUT true)")


def polars_merge(task):
    """The same by the streaming engine."""
    import polars as pl

    out, key = pathlib.Path(task["out"]), task["key"]
    out.mkdir(parents=True)
    old = pl.scan_parquet(f"{task['table']}/*.parquet")
    new = pl.scan_parquet(f"{task['changes']}/*.parquet")
    match task["mode"]:
        case "update":
            columns = task["columns"]
            merged = old.join(new, on=key, how="left", suffix=" new").with_columns(
                pl.coalesce(f"{c} new", c).alias(c) for c in columns).drop(f"{c} new" for c in columns)
        case "delete":
            merged = old.join(new, on=key, how="anti")
        case _:
            merged = pl.concat([old.join(new.select(key), on=key, how="anti"), new])
    merged.sink_parquet(out / "merged.parquet", compression=task["compression"], maintain_order=False)


def delta_table(task):
    """A Delta table over links of the same files."""
    import deltalake

    target = pathlib.Path(task["out"])
    target.mkdir(parents=True)
    for f in pathlib.Path(task["table"]).glob("*.parquet"):
        (target / f.name).hardlink_to(f)
    deltalake.convert_to_deltalake(str(target))


def delta_merge(task):
    import deltalake
    import pyarrow.dataset as ds

    on = " AND ".join(f"old.{c} = new.{c}" for c in task["key"])
    source = ds.dataset(task["changes"]).scanner().to_reader()
    writing = deltalake.WriterProperties(compression=task["compression"].upper())
    merge = deltalake.DeltaTable(task["out"]).merge(
        source, predicate=on, source_alias="new", target_alias="old", writer_properties=writing)
    match task["mode"]:
        case "update":
            merge.when_matched_update({c: f"new.{c}" for c in task["columns"]}).execute()
        case "delete":
            merge.when_matched_delete().execute()
        case _:
            merge.when_matched_update_all().when_not_matched_insert_all().execute()


def main():
    tool, task = sys.argv[1], json.loads(sys.argv[2])
    {"duckdb": duckdb_merge, "polars": polars_merge, "delta": delta_merge, "delta-table": delta_table}[tool](task)


if __name__ == "__main__":
    main()
