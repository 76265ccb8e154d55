"""Holds the outcome of the random upserts of cases.py against what DuckDB makes of the same inputs.

    python check.py DIR           compares table/ and report.json of each case; prints one line per fault
    python check.py filters DIR   writes DIR/spark-read.json: what Spark is to read back, with filters around the values
    python check.py spark DIR     compares what Spark read

The expectation is a full outer join in SQL over old/ and the source; rows are compared by EXCEPT ALL both ways, the
counters of the report with counts of the same join, bounds and null counts of every column chunk with its values.
Exits 1 when there is a fault.
"""

import json
import math
import pathlib
import sys
import typing

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SPARK_CASES = 20  # beyond those that Spark wrote
FILTERS = 4


def quoted(names, prefix=""):
    return ", ".join(f'{prefix}"{n}"' for n in names)


class Checker:
    def __init__(self):
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'; SET threads = 2")
        self.faults = 0

    def fault(self, case, text):
        self.faults += 1
        print(f"{case.name}: {text}", flush=True)

    def scan(self, files, **columns):
        names = ", ".join(f"'{f}'" for f in files)
        return f"read_parquet([{names}], union_by_name = true, file_row_number = true, filename = true)"

    # -- what must come out ---------------------------------------------------------------------------------------------

    def expect(self, case, about):
        """Makes the views old, new (one row per key) and want."""
        db = self.db
        old_files = sorted((case / "old").glob("*.parquet"))
        source_files = sorted((case / "truth").glob("*.parquet")) or sorted((case / "source").glob("*.parquet"))
        columns, keys = about["columns"], about["keys"]
        db.execute(f"CREATE OR REPLACE TEMP TABLE old AS SELECT row_number() OVER () AS old_row, {quoted(columns)} "
                   f"FROM {self.scan(old_files)}")
        types = {name: t for name, t, *_ in db.execute("DESCRIBE old").fetchall()}
        given = {name.lower() for name, *_ in db.execute(f"DESCRIBE SELECT * FROM {self.scan(source_files)}").fetchall()}
        supplied = [c for c in columns if c in given]
        # The source's values in the table's types; its order is that of its files, then of their rows.
        select = ", ".join(f'"{c}"::{types[c]} AS "{c}"' for c in supplied)
        deleted = f"coalesce({about['delete_when']}, false)" if about["delete_when"] else "false"
        db.execute(f"CREATE OR REPLACE TEMP TABLE source AS SELECT {select}, {deleted} AS deleted, "
                   f"row_number() OVER (ORDER BY filename, file_row_number) AS source_row FROM {self.scan(source_files)}")
        order = [f'"{c}" {"ASC" if desc else "DESC"} NULLS LAST' for c, desc in about["order_by"]]
        order.append("source_row" + ("" if about["duplicates"] == "first" else " DESC"))
        db.execute(f"CREATE OR REPLACE TEMP TABLE new AS SELECT * FROM source "
                   f"QUALIFY row_number() OVER (PARTITION BY {quoted(keys)} ORDER BY {', '.join(order)}) = 1")
        self.join(about, columns, keys, supplied)

    def join(self, about, columns, keys, supplied):
        equal = "IS NOT DISTINCT FROM" if about["null_match"] else "="
        on = " AND ".join(f'o."{k}" {equal} n."{k}"' for k in keys)
        stale = "false"
        if about["order_by"] and not about["ignore_version"]:
            (column, desc), = about["order_by"]
            # NULL is the lowest on both sides, also where the smaller value wins.
            stale = (f'(o."{column}" IS NOT NULL AND (n."{column}" IS NULL OR o."{column}" {"<" if desc else ">"} n."{column}"))')
        # One row per old row and per new key, with its class.
        mode = about["mode"]
        classes = {
            "upsert": ("CASE WHEN deleted THEN 'delete' ELSE 'update' END", "CASE WHEN deleted THEN 'ignore' ELSE 'insert' END", "'keep'"),
            "mirror": ("CASE WHEN deleted THEN 'delete' ELSE 'update' END", "CASE WHEN deleted THEN 'ignore' ELSE 'insert' END", "'delete'"),
            "insert": ("'ignore'", "'insert'", "'keep'"),
            "update": ("'update'", "'ignore'", "'keep'"),
            "delete": ("'delete'", "'ignore'", "'keep'"),
        }
        both, only_new, only_old = classes[mode]
        if mode == "insert":
            stale = "false"
        if mode == "mirror" and not about["null_match"]:
            only_old = f"CASE WHEN {' OR '.join(f'o.{k} IS NULL' for k in keys)} THEN 'keep' ELSE 'delete' END"
        self.db.execute(
            f"CREATE OR REPLACE TEMP TABLE joined AS SELECT o AS o, n AS n, old_row, source_row, "
            f"CASE WHEN old_row IS NULL THEN {only_new} WHEN source_row IS NULL THEN {only_old} "
            f"WHEN {stale} THEN 'stale' ELSE {both} END AS class FROM old o FULL JOIN new n ON {on}")

        def value(c):
            if c not in supplied:
                return f'o."{c}"'
            if c in keys:
                return f'coalesce(o."{c}", n."{c}")'
            changed = f'coalesce(n."{c}", o."{c}")' if c in about["keep_null"] else f'n."{c}"'
            # A column that is not updated is NULL in an inserted row.
            update = changed if c in about["updated"] else f'o."{c}"'
            insert = f'n."{c}"' if c in about["updated"] else "NULL"
            return f"CASE class WHEN 'update' THEN {update} WHEN 'insert' THEN {insert} ELSE o.\"{c}\" END"

        self.values = [value(c) for c in columns]
        select = ", ".join(f'{v} AS "{c}"' for v, c in zip(self.values, columns))
        self.db.execute(f"CREATE OR REPLACE TEMP TABLE want AS SELECT {select} FROM joined WHERE class <> 'delete' "
                        "AND NOT (class = 'ignore' AND old_row IS NULL)")

    # -- what came out --------------------------------------------------------------------------------------------------

    def compare(self, case, about, relation, what):
        columns = quoted(about["columns"])
        for left, right, text in (("want", relation, "missing"), (relation, "want", "too many")):
            rows = self.db.execute(
                f"SELECT COLUMNS(*)::VARCHAR FROM (SELECT {columns} FROM {left} EXCEPT ALL SELECT {columns} FROM {right})"
            ).fetchall()
            if rows:
                self.fault(case, f"{what}: {len(rows)} rows {text}, such as {rows[0]!r:.300}")

    def check(self, case):
        about = json.loads((case / "case.json").read_text())
        self.expect(case, about)
        files = sorted((case / "table").glob("*.parquet"))
        if not files:
            return self.fault(case, "no files in the table")
        got = self.scan(files)
        self.compare(case, about, got, "DuckDB")
        self.compare_types(case, about, got)
        self.compare_counts(case)
        if not (quirks := old_quirks(case)).readable:
            return
        for f in files:
            if not (case / "old" / f.name).exists():  # what was kept is as its writer made it
                check_file(f, quirks, lambda text, f=f: self.fault(case, f"{f.name}: {text}"))

    def compare_types(self, case, about, got):
        columns = quoted(about["columns"])
        want = self.db.execute(f"DESCRIBE SELECT {columns} FROM old").fetchall()
        have = self.db.execute(f"DESCRIBE SELECT {columns} FROM {got}").fetchall()
        if want != have:
            self.fault(case, f"types {[t[:2] for t in have]}, want {[t[:2] for t in want]}")

    def compare_counts(self, case):
        partitions = json.loads((case / "report.json").read_text())["partitions"]
        rows = partitions[0]["rows"] if partitions else None
        if rows is None:
            if self.db.execute("SELECT count(*) FROM source").fetchone()[0]:
                self.fault(case, "no partition in the report")
            return
        one = lambda sql: self.db.execute(sql).fetchone()[0]  # noqa: E731
        count = lambda c: one(f"SELECT count(*) FROM joined WHERE class = '{c}'")  # noqa: E731
        want = {
            "old": one("SELECT count(*) FROM old"), "source": one("SELECT count(*) FROM source"),
            "out": one("SELECT count(*) FROM want"), "inserted": count("insert"), "deleted": count("delete"),
            "stale_skipped": count("stale"), "ignored": count("ignore"),
            "source_duplicates": one("SELECT (SELECT count(*) FROM source) - (SELECT count(*) FROM new)"),
        }
        have = {k: rows[k] for k in want}
        want["updated+unchanged"], have["updated+unchanged"] = count("update"), rows["updated"] + rows["unchanged"]
        if want != have:
            self.fault(case, f"counters {have}, want {want}")


class Quirks(typing.NamedTuple):
    """What is odd with the old files already: chunks that are copied byte for byte keep it."""

    readable: bool  # by pyarrow: it rejects DuckDB's delta pages without values
    nan_bounds: set  # columns with NaN as a bound: parquet-mr writes such


def old_quirks(case):
    nan = set()
    for path in (case / "old").glob("*.parquet"):
        try:
            f = pq.ParquetFile(path)
            f.read()
        except OSError:
            return Quirks(False, nan)
        for g in range(f.num_row_groups):
            for c in range(f.metadata.num_columns):
                chunk = f.metadata.row_group(g).column(c)
                s = chunk.statistics
                if s is not None and s.has_min_max and any(isinstance(v, float) and math.isnan(v) for v in (s.min, s.max)):
                    nan.add(chunk.path_in_schema)
    return Quirks(True, nan)


def check_file(path, quirks, fault):
    """Reads all pages with their checksums, and holds bounds and null counts of each chunk against its values."""
    try:
        f = pq.ParquetFile(path, page_checksum_verification=True)
        for g in range(f.num_row_groups):
            meta, rows = f.metadata.row_group(g), f.read_row_group(g)
            if meta.num_rows != rows.num_rows:
                fault(f"row group {g}: {rows.num_rows} rows read, footer says {meta.num_rows}")
            if meta.num_rows == 0:
                fault(f"row group {g} has no rows")
            for c in range(meta.num_columns):
                chunk = meta.column(c)
                name = chunk.path_in_schema
                if name in rows.column_names and chunk.statistics is not None and name not in quirks.nan_bounds:
                    check_bounds(chunk.statistics, rows[name], lambda text, name=name: fault(f"row group {g}, {name}: {text}"))
    except Exception as e:  # noqa: BLE001: whatever pyarrow has against a file is a fault
        fault(f"pyarrow: {e}")


def check_bounds(statistics, values, fault):
    if pa.types.is_nested(values.type):
        return
    if statistics.null_count is not None and statistics.null_count != values.null_count:
        fault(f"null_count {statistics.null_count}, has {values.null_count}")
    if not statistics.has_min_max:
        return
    if pa.types.is_floating(values.type):
        if math.isnan(statistics.min) or math.isnan(statistics.max):
            return fault("NaN as a bound")
        values = values.filter(pc.invert(pc.is_nan(values)))
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if len(values) == values.null_count:
        return fault("bounds, but no values")
    low, high = statistics.min, statistics.max
    if pa.types.is_timestamp(values.type) or pa.types.is_time(values.type):
        span = pc.min_max(values)
        low, high = (pa.scalar(v, values.type).value for v in (low, high)) if not isinstance(low, int) else (low, high)
        smallest, largest = span["min"].value, span["max"].value
    elif pa.types.is_fixed_size_binary(values.type) or pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        plain = [v.encode() if isinstance(v, str) else v for v in values.drop_null().to_pylist()]
        smallest, largest = min(plain), max(plain)
        low, high = (v.encode() if isinstance(v, str) else v for v in (low, high))
    else:
        span = pc.min_max(values)
        smallest, largest = span["min"].as_py(), span["max"].as_py()
    if low > smallest or high < largest:
        fault(f"bounds {low!r:.80} .. {high!r:.80}, values {smallest!r:.80} .. {largest!r:.80}")


# -- Spark ----------------------------------------------------------------------------------------------------------------


def cases(directory):
    return sorted(d for d in directory.glob("case-*") if (d / "report.json").exists())


def spark_cases(directory):
    """Those that Spark wrote, then the first others that it can read and that the merge has changed."""
    written, others = [], []
    for case in cases(directory):
        about = json.loads((case / "case.json").read_text())
        report = json.loads((case / "report.json").read_text())["partitions"]
        if (case / "spark-cannot").exists():
            continue
        if about["writer"] == "spark":
            written.append(case)
        elif about["spark_reads"] and any(p["status"] == "published" for p in report) and not misread(case):
            others.append(case)
    return written + others[:SPARK_CASES]


def misread(case):
    """Spark 3.5's vectorised reader takes wrong strings, without a word, from some pages in DELTA_LENGTH_BYTE_ARRAY. hupsert writes none, but
    files and row groups without a change stay as their writer made them."""
    coded = lambda files: any(  # noqa: E731
        "DELTA_LENGTH_BYTE_ARRAY" in group.column(i).encodings
        for meta in map(pq.read_metadata, files) for group in map(meta.row_group, range(meta.num_row_groups))
        for i in range(group.num_columns))
    return coded((case / "old").glob("*.parquet")) and coded((case / "table").glob("*.parquet"))


def write_filters(directory):
    """Filters at, below and above the bounds of columns, in Spark's SQL."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    plain = {"BIGINT": "{}L", "INTEGER": "{}", "SMALLINT": "{}S", "TINYINT": "{}Y", "DATE": "DATE '{}'", "VARCHAR": "'{}'"}
    with open(directory / "spark-read.json", "w", encoding="utf-8") as out:
        for case in spark_cases(directory):
            filters = ["k0 IS NULL"]
            for name, t, *_ in db.execute(f"DESCRIBE SELECT * FROM '{case}/table/*.parquet'").fetchall():
                literal = plain.get(t) or ("{}BD" if t.startswith("DECIMAL") else None)
                values = db.execute(
                    f"SELECT \"{name}\"::VARCHAR FROM '{case}/table/*.parquet' WHERE \"{name}\" IS NOT NULL "
                    f"ORDER BY \"{name}\"").fetchall()
                if literal is None or not values:
                    continue
                low, middle, high = (literal.format(values[i][0].replace("\\", "\\\\").replace("'", "\\'"))
                                     for i in (0, len(values) // 2, -1))
                filters += [f"{name} = {middle}", f"{name} < {low}", f"{name} <= {low}", f"{name} >= {high}",
                            f"{name} > {high}", f"{name} > {middle}", f"{name} IS NULL"]
            step = max(1, len(filters) // FILTERS)
            (case / "spark").mkdir(exist_ok=True)
            out.write(json.dumps({"task": "read", "name": case.name, "in": str(case / "table"), "out": str(case / "spark"),
                                  "filters": filters[::step][:FILTERS]}) + "\n")


def check_spark(checker, directory):
    for case in spark_cases(directory):
        about = json.loads((case / "case.json").read_text())
        checker.expect(case, about)
        for reader in ("vectorised", "rows"):
            found = case / "spark" / f"{reader}.parquet"
            if not found.exists():
                checker.fault(case, f"Spark's reader ({reader}) gave nothing")
                continue
            # Spark's copy has Spark's types: unsigned integers wider, timestamps as INT96.
            types = {name: t for name, t, *_ in checker.db.execute("DESCRIBE old").fetchall()}
            select = ", ".join(f'"{c}"::{types[c]} AS "{c}"' for c in about["columns"])
            checker.compare(case, about, f"(SELECT {select} FROM '{found}')", f"Spark, {reader}")


def main():
    what, directory = (sys.argv[1], sys.argv[2]) if len(sys.argv) > 2 else ("tables", sys.argv[1])
    directory, checker = pathlib.Path(directory), Checker()
    if what == "filters":
        return write_filters(directory)
    if what == "spark":
        check_spark(checker, directory)
    else:
        for case in cases(directory):
            try:
                checker.check(case)
            except Exception as e:  # noqa: BLE001: one case that can't be checked must not hide the others
                checker.fault(case, f"{type(e).__name__}: {e}"[:400])
    sys.exit(1 if checker.faults else 0)


if __name__ == "__main__":
    main()
