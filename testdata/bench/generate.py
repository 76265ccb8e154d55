"""Makes the benchmark's data: TPC-H lineitem as one partition of four files, and the changes to merge into it.

    python generate.py DIR SCALE [CASE...]

DIR gets table/ (four files of one row group each) and changes/<case>/*.parquet, of all cases where none is named. What is
there already stays, so a new case costs only itself. Written by Spark (parquet-mr: snappy, V1 pages of 20,000 rows,
page indexes) where HUPSERT_SPARK names the arguments of a JVM with Spark, else by pyarrow. The same SCALE gives the same
rows. SCALE 2 is 12 million rows.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import duckdb
import pyarrow.parquet as pq

FILES = 4
KEY = ["l_orderkey", "l_linenumber"]
BY_KEY = ", ".join(KEY)
IN_NO_ORDER = f"hash({BY_KEY})"

# Of the 16 columns of an updated row 4 differ, one of each kind: decimal, flag, date, text.
STATUS = {"l_linestatus": "CASE l_linestatus WHEN 'O' THEN 'F' ELSE 'O' END"}
UPDATED = STATUS | {
    "l_extendedprice": "(l_extendedprice + 1.00)::DECIMAL(15, 2)",
    "l_receiptdate": "l_receiptdate + 1",
    "l_comment": "left('again ' || l_comment, 44)",
}
INSERTED = {"l_comment": "'new ' || left(l_comment, 40)"}


def pick(share, seed):
    """A predicate true for about this share of the rows, the same ones each time."""
    return f"hash({BY_KEY}, {seed}) % 1000000 < {round(share * 1_000_000)}"


def named(columns):
    return ", ".join(f"{value} AS {name}" for name, value in columns.items())


def replaced(columns, where):
    """The rows of `old` for which a predicate holds, with other values in some columns."""
    return f"SELECT * REPLACE ({named(columns)}) FROM old WHERE {where}"


def upserts(updated, inserted, shift, order, values=None):
    """Updated rows and a tenth as many inserted ones. Those get order keys that are free."""
    key = {"l_orderkey": f"(l_orderkey {shift})::BIGINT"}
    return f"{replaced(values or UPDATED, updated)} UNION ALL {replaced(INSERTED | key, inserted)} ORDER BY {order}"


def spread(share, seeds, values=None):
    """Changes all over the table. TPC-H uses 8 of each 32 order keys: an order key plus 8 falls into the gap."""
    return upserts(pick(share, seeds[0]), pick(share / 10, seeds[1]), "+ 8", IN_NO_ORDER, values)


def tail(last, values=None):
    """Changes of the last 1 % of the order keys. Past the last one they are free, too."""
    at_end = f"l_orderkey > {last} * 0.99"
    return upserts(at_end, f"{at_end} AND {pick(0.1, 3)}", f"+ {last}", BY_KEY, values)


def cases(last):
    """The queries of the changes, over `old`."""
    return {
        "last-1": tail(last),
        "random-0.01": spread(0.0001, (1, 2)),
        "random-1": spread(0.01, (4, 5)),
        "columns-1": f"SELECT {BY_KEY}, {named(STATUS)} FROM old WHERE {pick(0.01, 6)} ORDER BY {IN_NO_ORDER}",
        "delete-1": f"SELECT {BY_KEY} FROM old WHERE {pick(0.01, 8)} ORDER BY {IN_NO_ORDER}",
        "all": f"{replaced(UPDATED, 'true')} ORDER BY {BY_KEY}",
    }


def connect(target):
    db = duckdb.connect()
    db.execute("SET threads = 2; SET memory_limit = '6GB'; SET enable_progress_bar = false")
    db.execute(f"SET temp_directory = '{target}/spill'")
    return db


def main():
    target, scale, wanted = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    complete = target / "complete"  # of the table, and says who wrote it
    if not complete.exists():
        shutil.rmtree(target, ignore_errors=True)
        with Batch(target, "table") as batch:
            for i, raw in enumerate(lineitem(batch.raw, scale)):
                batch.add(raw, f"part-{i}.parquet")
        complete.write_text(writer() + "\n")
    changes(target, wanted, cases)


def lineitem(folder, scale):
    """TPC-H's rows, as the generator writes them."""
    tpchgen = pathlib.Path(sys.executable).with_name("tpchgen-cli")
    subprocess.run([tpchgen, "parquet", "-q", "-s", scale, "-T", "lineitem", "-p", str(FILES), "-o", folder], check=True)
    return [folder / f"lineitem/lineitem.{i + 1}.parquet" for i in range(FILES)]


def changes(target, wanted, queries):
    """Makes the cases that are wanted and not there yet; queries gives them by the table's last order key."""
    db = connect(target)
    tables = sorted((target / "table").glob("*.parquet"))
    [last] = db.execute(f"SELECT max(l_orderkey) FROM '{target}/table/*.parquet'").fetchone()
    for name, query in queries(last).items():
        if wanted and name not in wanted or (target / "changes" / name).exists():
            continue
        with Batch(target, f"changes/{name}") as batch:
            # The change of all rows comes in as many files as the table has, each with the keys of one of them.
            for i, old in enumerate(tables if name == "all" else [target / "table/*.parquet"]):
                raw = batch.raw / f"{i}.parquet"
                db.execute(f"COPY (WITH old AS (FROM '{old}') {query}) TO '{raw}' (FORMAT parquet)")
                batch.add(raw, f"change-{i}.parquet")
    db.close()
    shutil.rmtree(target / "spill", ignore_errors=True)


class Batch:
    """A folder that is there when it is whole: files are written anew from raw ones, in their order, when the block ends."""

    def __init__(self, target, name, **options):
        self.final, self.new = target / name, target / f"{name}.new"
        self.raw = target / f"{name}.raw"
        self.options, self.jobs = options, []

    def add(self, raw, name):
        self.jobs.append((raw, self.new / name))

    def __enter__(self):
        for folder in (self.new, self.raw):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            WRITERS[writer()](self.jobs, self.raw, **self.options)
            shutil.rmtree(self.final, ignore_errors=True)
            self.new.rename(self.final)
        shutil.rmtree(self.new, ignore_errors=True)
        shutil.rmtree(self.raw)


def writer():
    return "spark" if os.environ.get("HUPSERT_SPARK") else "pyarrow"


def write_by_spark(jobs, folder, compression="snappy"):
    # A block past the file's size keeps a file in one row group.
    options = {"compression": compression, "parquet.block.size": str(2**31 - 1)}
    tasks = folder / "tasks.json"
    tasks.write_text("".join(
        json.dumps({"task": "copy", "in": str(i), "out": str(o), "options": options}) + "\n" for i, o in jobs))
    engines = pathlib.Path(__file__).parents[1] / "spark" / "Engines.java"
    subprocess.run(
        [os.environ.get("JAVA", "java"), "-Xmx4g", "@" + os.environ["HUPSERT_SPARK"], engines, tasks],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def write_by_pyarrow(jobs, _, compression="snappy"):
    for source, out in jobs:
        table = pq.read_table(source)
        pq.write_table(
            table, out, compression=compression, row_group_size=max(1, table.num_rows), data_page_size=1 << 20,
            write_page_index=True, store_decimal_as_integer=True)


WRITERS = {"spark": write_by_spark, "pyarrow": write_by_pyarrow}

if __name__ == "__main__":
    main()
