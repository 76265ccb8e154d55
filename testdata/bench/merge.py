"""The upsert as a user of another tool would write it today: one call of this script is one measured run.

    python merge.py duckdb|polars|delta TABLE CHANGES OUT

TABLE and CHANGES are folders of Parquet files. DuckDB and Polars write the merged rows into OUT; delta-rs merges
OUT, which holds the table already (`merge.py delta-table TABLE OUT`, not measured).
"""

import pathlib
import sys

KEY = ["l_orderkey", "l_linenumber"]


def duckdb_merge(table, changes, out):
    """Anti-join and union. Each thread writes a file of its own, in any order: the fastest way DuckDB has for it."""
    import duckdb

    db = duckdb.connect()
    db.execute("SET preserve_insertion_order = false")
    db.execute(f"""
        COPY (
            SELECT * FROM '{table}/*.parquet' old
            ANTI JOIN '{changes}/*.parquet' new USING ({", ".join(KEY)})
            UNION ALL
            SELECT * FROM '{changes}/*.parquet'
        ) TO '{out}' (FORMAT parquet, COMPRESSION snappy, PER_THREAD_OUTPUT true)""")


def polars_merge(table, changes, out):
    """The same by the streaming engine."""
    import polars as pl

    pathlib.Path(out).mkdir(parents=True)
    old = pl.scan_parquet(f"{table}/*.parquet")
    new = pl.scan_parquet(f"{changes}/*.parquet")
    merged = pl.concat([old.join(new.select(KEY), on=KEY, how="anti"), new])
    merged.sink_parquet(f"{out}/merged.parquet", compression="snappy", maintain_order=False)


def delta_table(table, out):
    """A Delta table over links of the same files."""
    import deltalake

    target = pathlib.Path(out)
    target.mkdir(parents=True)
    for f in pathlib.Path(table).glob("*.parquet"):
        (target / f.name).hardlink_to(f)
    deltalake.convert_to_deltalake(str(target))


def delta_merge(table, changes, out):
    import deltalake
    import pyarrow.dataset as ds

    on = " AND ".join(f"old.{c} = new.{c}" for c in KEY)
    source = ds.dataset(changes).scanner().to_reader()
    merge = deltalake.DeltaTable(out).merge(source, predicate=on, source_alias="new", target_alias="old")
    merge.when_matched_update_all().when_not_matched_insert_all().execute()


def main():
    tool, *arguments = sys.argv[1:]
    {"duckdb": duckdb_merge, "polars": polars_merge, "delta": delta_merge, "delta-table": delta_table}[tool](*arguments)


if __name__ == "__main__":
    main()
