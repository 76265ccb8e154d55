"""What readers of a table's folder see: only live rows, whatever history and staging lie beside it.

    python live.py make DIR       DIR/warehouse/orders with three days, and DIR/changes/1.parquet, 2.parquet, 3.parquet
    python live.py check DIR N    reads the folder as DuckDB, Polars and pyarrow do, after changes 1 to N are merged
"""

import pathlib
import sys

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]
RUNS = 3
ROWS = 200  # a day


def state(merged):
    """The live rows after so many changes: (dt, id) to value."""
    rows = {(day, i): 0 for day in DAYS for i in range(ROWS)}
    for run in range(1, merged + 1):
        rows.update(change(run))
    return rows


def change(run):
    """Change number run: some rows of the first two days get a new value, and ten rows come to the last."""
    rows = {(day, i): run for day in DAYS[:2] for i in range(run, ROWS, 7)}
    rows.update({(DAYS[2], ROWS * run + i): run for i in range(10)})
    return rows


def table(rows, with_day):
    columns = {"id": [i for _, i in rows], "value": [v for v in rows.values()]}
    if with_day:
        columns["dt"] = [day for day, _ in rows]
    return pa.table(columns)


def make(directory):
    live = state(0)
    for day in DAYS:
        folder = directory / "warehouse" / "orders" / f"dt={day}"
        folder.mkdir(parents=True)
        rows = table({k: v for k, v in live.items() if k[0] == day}, False)
        pq.write_table(rows.slice(0, ROWS // 2), folder / "part-0.parquet")
        pq.write_table(rows.slice(ROWS // 2), folder / "part-1.parquet")
    (directory / "changes").mkdir()
    for run in range(1, RUNS + 1):
        pq.write_table(table(change(run), True), directory / "changes" / f"{run}.parquet")


def readers(folder):
    """Each reader's rows as (dt, id, value), by the ways in which people read a folder."""
    columns = ["dt", "id", "value"]

    def by_duckdb(pattern):
        return duckdb.execute(
            f"SELECT dt::VARCHAR, id, value FROM read_parquet('{folder}/{pattern}', hive_partitioning = true)").fetchall()

    def by_polars(path):
        frame = pl.scan_parquet(path, hive_partitioning=True, try_parse_hive_dates=False)
        return frame.select(columns).collect().rows()

    def by_pyarrow():
        rows = ds.dataset(folder, partitioning="hive").to_table(columns=columns)
        return [tuple(r.values()) for r in rows.to_pylist()]

    return {
        "DuckDB **": lambda: by_duckdb("**"),
        "DuckDB **/*.parquet": lambda: by_duckdb("**/*.parquet"),
        "DuckDB */*.parquet": lambda: by_duckdb("*/*.parquet"),
        "Polars, folder": lambda: by_polars(f"{folder}/"),
        "Polars, **/*.parquet": lambda: by_polars(f"{folder}/**/*.parquet"),
        "pyarrow, folder": by_pyarrow,
    }


def check(directory, merged):
    want = sorted((day, i, v) for (day, i), v in state(merged).items())
    bad = False
    for name, read in readers(directory / "warehouse" / "orders").items():
        got = sorted((str(day), i, v) for day, i, v in read())
        if got != want:
            bad = True
            print(f"{name}: {len(got)} rows, want {len(want)}; first difference: "
                  f"{next(((g, w) for g, w in zip(got, want) if g != w), 'in length')}")
    sys.exit(bad)


def main():
    directory = pathlib.Path(sys.argv[2])
    if sys.argv[1] == "make":
        make(directory)
    else:
        check(directory, int(sys.argv[3]))


if __name__ == "__main__":
    main()
