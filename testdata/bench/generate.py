"""Makes the benchmark's data: TPC-H lineitem as one partition of four files, and the changes to merge into it.

    python generate.py DIR SCALE [CASE...]

DIR gets table/ (four files of one row group each) and changes/<case>/*.parquet, of all cases where none is named.
Written by Spark (parquet-mr: snappy, V1 pages of 20,000 rows, page indexes) where HUPSERT_SPARK names the arguments of
a JVM with Spark, else by pyarrow. The same SCALE gives the same rows. SCALE 2 is 12 million rows.
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
KEY = "l_orderkey, l_linenumber"

# Of the 16 columns of an updated row 4 differ, one of each kind: decimal, flag, date, text.
UPDATED = """
    SELECT * REPLACE (
        (l_extendedprice + 1.00)::DECIMAL(15, 2) AS l_extendedprice,
        CASE l_linestatus WHEN 'O' THEN 'F' ELSE 'O' END AS l_linestatus,
        l_receiptdate + 1 AS l_receiptdate,
        left('again ' || l_comment, 44) AS l_comment)
    FROM {old} WHERE {where}"""

# TPC-H uses 8 of each 32 order keys: an order key plus 8 falls into the gap, and past the last order is free too.
INSERTED = """
    SELECT * REPLACE ((l_orderkey {shift})::BIGINT AS l_orderkey, 'new ' || left(l_comment, 40) AS l_comment)
    FROM {old} WHERE {where}"""


def pick(share, seed):
    """A predicate true for about this share of the rows, the same ones each time."""
    return f"hash(l_orderkey, l_linenumber, {seed}) % 1000000 < {round(share * 1_000_000)}"


def cases(last):
    """Name, updated rows, inserted rows (a tenth as many), and the order in which the source holds them."""
    tail = f"l_orderkey > {last} * 0.99"
    return {
        "random-0.01": (pick(0.0001, 1), pick(0.00001, 2), "+ 8", "hash(l_orderkey, l_linenumber)"),
        "last-1": (tail, f"{tail} AND {pick(0.1, 3)}", f"+ {last}", KEY),
        "random-1": (pick(0.01, 4), pick(0.001, 5), "+ 8", "hash(l_orderkey, l_linenumber)"),
        "all": ("true", "false", "", KEY),
    }


def main():
    target, scale, wanted = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if (target / "complete").exists():
        return
    shutil.rmtree(target, ignore_errors=True)
    raw = target / "raw"
    raw.mkdir(parents=True)
    tpchgen = pathlib.Path(sys.executable).with_name("tpchgen-cli")
    subprocess.run(
        [tpchgen, "parquet", "-q", "-s", scale, "-T", "lineitem", "-p", str(FILES), "-o", raw], check=True)
    jobs = [(raw / f"lineitem/lineitem.{i + 1}.parquet", target / f"table/part-{i}.parquet") for i in range(FILES)]

    db = duckdb.connect()
    db.execute("SET threads = 2; SET memory_limit = '6GB'")
    db.execute(f"SET temp_directory = '{target}/spill'")
    db.execute(f"CREATE VIEW old AS SELECT * FROM '{raw}/lineitem/*.parquet'")
    last = db.execute("SELECT max(l_orderkey) FROM old").fetchone()[0]
    for name, (updated, inserted, shift, order) in cases(last).items():
        if wanted and name not in wanted:
            continue
        union = " UNION ALL ".join([
            UPDATED.format(old="old", where=updated), INSERTED.format(old="old", where=inserted, shift=shift)])
        # The change of all rows comes in as many files as the table has, each with the keys of one of them.
        parts = FILES if name == "all" else 1
        for i in range(parts):
            source = raw / f"{name}-{i}.parquet"
            query = union if parts == 1 else UPDATED.format(old=f"'{jobs[i][0]}'", where="true")
            db.execute(f"COPY ({query} ORDER BY {order}) TO '{source}' (FORMAT parquet)")
            jobs.append((source, target / f"changes/{name}/change-{i}.parquet"))
    db.close()

    for _, out in jobs:
        out.parent.mkdir(parents=True, exist_ok=True)
    write = write_by_spark if os.environ.get("HUPSERT_SPARK") else write_by_pyarrow
    write(jobs, target)
    shutil.rmtree(raw)
    shutil.rmtree(target / "spill", ignore_errors=True)
    (target / "complete").write_text(write.__name__.removeprefix("write_by_") + "\n")


def write_by_spark(jobs, target):
    # A block past the file's size keeps a file in one row group.
    options = {"compression": "snappy", "parquet.block.size": str(2**31 - 1)}
    tasks = target / "tasks.json"
    tasks.write_text("".join(
        json.dumps({"task": "copy", "in": str(i), "out": str(o), "options": options}) + "\n" for i, o in jobs))
    engines = pathlib.Path(__file__).parents[1] / "spark" / "Engines.java"
    subprocess.run(
        [os.environ.get("JAVA", "java"), "-Xmx4g", "@" + os.environ["HUPSERT_SPARK"], engines, tasks],
        check=True, stderr=subprocess.DEVNULL)
    tasks.unlink()


def write_by_pyarrow(jobs, _):
    for source, out in jobs:
        table = pq.read_table(source)
        pq.write_table(
            table, out, compression="snappy", row_group_size=max(1, table.num_rows), data_page_size=1 << 20,
            write_page_index=True, store_decimal_as_integer=True)


if __name__ == "__main__":
    main()
