"""A year of daily merges: makes the changes, and measures what they left.

    python daily.py changes TABLE OUT DAYS    a source for each day: 1 % of the rows updated, 0.1 % inserted, all over the table
    python daily.py fresh TABLE OUT           the same rows written at once, in the order of their keys
    python daily.py scan FRESH TABLE...       JSON: files, row groups, sizes and the time of a full scan by DuckDB, of each

Every updated row gets values of its day, so that dictionaries fill with values that later days replace.
"""

import json
import pathlib
import shutil
import statistics
import sys
import time

import duckdb
import pyarrow.parquet as pq

from generate import BY_KEY, FILES, spread, write_by_pyarrow

ROUNDS = 9


def changes(table, out, days):
    db = duckdb.connect()
    db.execute(f"CREATE VIEW old AS FROM '{table}/*.parquet'")
    for day in range(days):
        target = pathlib.Path(out) / f"day-{day:03}.parquet"
        values = {
            "l_extendedprice": f"(l_extendedprice + {day})::DECIMAL(15, 2)",
            "l_receiptdate": f"l_receiptdate + {day % 30}",
            "l_shipmode": f"'DAY {day} ' || l_shipmode",
            "l_comment": f"left('day {day} ' || l_comment, 44)",
        }
        if not target.exists():
            db.execute(f"COPY ({spread(0.01, (1000 + day, 2000 + day), values)}) TO '{target}' (FORMAT parquet)")


def fresh(table, out):
    raw = pathlib.Path(out) / "raw"
    raw.mkdir()
    db = duckdb.connect()
    db.execute(f"CREATE TABLE sorted AS FROM '{table}/*.parquet' ORDER BY {BY_KEY}")
    [rows] = db.execute("SELECT count(*) FROM sorted").fetchone()
    each = -(-rows // FILES)
    jobs = []
    for i in range(FILES):
        db.execute(f"COPY (FROM sorted LIMIT {each} OFFSET {i * each}) TO '{raw}/{i}.parquet' (FORMAT parquet)")
        jobs.append((raw / f"{i}.parquet", f"{out}/part-{i}.parquet"))
    write_by_pyarrow(jobs, raw)
    shutil.rmtree(raw)


def shape(table):
    files = list(pathlib.Path(table).glob("*.parquet"))
    groups = dictionaries = 0
    for f in files:
        footer = pq.read_metadata(f)
        groups += footer.num_row_groups
        for g in range(footer.num_row_groups):
            for c in range(footer.num_columns):
                chunk = footer.row_group(g).column(c)
                if chunk.has_dictionary_page:
                    dictionaries += chunk.data_page_offset - chunk.dictionary_page_offset
    return {"files": len(files), "row_groups": groups, "bytes": sum(f.stat().st_size for f in files), "dictionary_bytes": dictionaries}


def scan(tables):
    db = duckdb.connect()
    columns = [c[0] for c in db.sql(f"DESCRIBE SELECT * FROM '{tables[0]}/*.parquet'").fetchall()]
    query = f"SELECT {', '.join(f'max({c})' for c in columns)} FROM read_parquet('{{}}/*.parquet')"
    seconds = {t: [] for t in tables}
    for _ in range(ROUNDS + 1):
        for t in tables:  # in turns, so that a disturbance of the machine meets them all
            begin = time.perf_counter()
            db.sql(query.format(t)).fetchall()
            seconds[t].append(time.perf_counter() - begin)
    base = seconds[tables[0]][1:]
    return [shape(t) | {"seconds": statistics.median(seconds[t][1:]),
                        "times": statistics.median(s / b for s, b in zip(seconds[t][1:], base))} for t in tables]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["changes", table, out, days]:
            changes(table, out, int(days))
        case ["fresh", table, out]:
            fresh(table, out)
        case ["scan", *tables]:
            print(json.dumps(scan(tables)))
        case _:
            sys.exit(__doc__)
