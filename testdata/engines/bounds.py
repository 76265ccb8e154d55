"""Filters at, just below and just above the bounds of every column chunk that a merge wrote, with push-down and without.

    python bounds.py DIR PROBES          DuckDB and pyarrow, over the cases of cases.py in DIR; prints one line per fault
    python bounds.py tasks DIR PROBES    writes DIR/spark-scan.json: what Spark is to read and to filter by itself
    python bounds.py spark DIR           compares what Spark's two readers made of every output with DuckDB's full outer join

PROBES is the number of filters for each file and engine. A reader that believes a wrong bound, null count or Bloom filter finds
fewer rows than one that looks at each. Exits 1 when there is a fault.
"""

import datetime
import decimal
import json
import math
import pathlib
import sys

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

import check

OPS = {"=": pc.equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}


class Prober:
    def __init__(self, probes):
        self.db, self.probes, self.faults, self.asked = duckdb.connect(), probes, 0, 0
        self.db.execute("SET TimeZone = 'UTC'; SET threads = 1")

    def fault(self, file, text):
        self.faults += 1
        print(f"{file.parent.parent.name}/{file.name}: {text}", flush=True)

    def check(self, file):
        read = pq.ParquetFile(file)
        groups = [read.read_row_group(g) for g in range(read.num_row_groups)]
        columns = [f for f in read.schema_arrow if not pa.types.is_nested(f.type) and not pa.types.is_dictionary(f.type)]
        questions = [(f, x) for f in columns for x in literals([g[f.name] for g in groups], f.type)]
        if not questions:
            return
        # Some of them, spread evenly: a file has more bounds than anybody has time.
        step = max(1, len(questions) * len(OPS) // self.probes)
        asked = [(f, x, op) for f, x in questions for op in OPS][::step][:self.probes]
        whole, source = pa.concat_tables(groups), ds.dataset(file)
        self.db.execute(f"CREATE OR REPLACE TEMP TABLE whole AS SELECT * FROM read_parquet('{file}')")
        types = {name: t for name, t, *_ in self.db.execute("DESCRIBE whole").fetchall()}
        for f, x, op in asked:
            self.asked += 1
            self.by_pyarrow(file, source, whole, f, x, op)
            self.by_duckdb(file, types, f, x, op)
        for f in columns:
            n, m = (self.db.execute(f'SELECT count(*) FROM {s} WHERE "{f.name}" IS NULL').fetchone()[0]
                    for s in (f"read_parquet('{file}')", "whole"))
            if n != m:
                self.fault(file, f"DuckDB finds {n} rows where {f.name} IS NULL, there are {m}")

    def by_pyarrow(self, file, source, whole, f, x, op):
        try:
            want = whole.filter(OPS[op](pc.field(f.name), x)).num_rows
        except pa.ArrowNotImplementedError:
            return
        got = source.to_table(columns=[f.name], filter=OPS[op](pc.field(f.name), x)).num_rows
        if got != want:
            self.fault(file, f"pyarrow finds {got} rows where {f.name} {op} {x!r:.80}, there are {want}")

    def by_duckdb(self, file, types, f, x, op):
        text = self.db.execute("SELECT ?::VARCHAR", [plain(x)]).fetchone()[0] if not isinstance(plain(x), bytes) else blob(plain(x))
        literal = "'" + text.replace("'", "''") + f"'::{types[f.name]}"
        if "\x00" in literal:
            return
        # DuckDB takes NaN for the largest number and passes it by all the same: bounds leave it out, as the format says.
        no_nan = f' AND NOT isnan("{f.name}")' if pa.types.is_floating(f.type) else ""
        want, got = (self.db.execute(f'SELECT count(*) FROM {s} WHERE "{f.name}" {op} {literal}{no_nan}').fetchone()[0]
                     for s in ("whole", f"read_parquet('{file}')"))
        if got != want:
            self.fault(file, f"DuckDB finds {got} rows where {f.name} {op} {literal:.80}, there are {want}")


def plain(x):
    """A value as DuckDB takes it: nanoseconds by their text."""
    if pa.types.is_timestamp(x.type) and x.type.unit == "ns":
        return str(x)
    return x.as_py()


def blob(v):
    return "".join(f"\\x{b:02X}" for b in v)


def literals(groups, t):
    """The bounds of each group of rows, and the values just beside them."""
    out = []
    for values in groups:
        if pa.types.is_floating(t):
            values = values.filter(pc.invert(pc.fill_null(pc.is_nan(values), True)))
        values = values.drop_null()
        if len(values) == 0 or pa.types.is_null(t):
            continue
        if pa.types.is_fixed_size_binary(t):
            span = [min(values.to_pylist()), max(values.to_pylist())]
        else:
            span = [v for v in pc.min_max(values).as_py().values()] if not is_nanos(t) else list(pc.min_max(values).values())
        for v in span:
            out += [x for x in (scalar(v, t), *beside(v, t)) if x is not None]
    return out


def is_nanos(t):
    return (pa.types.is_timestamp(t) or pa.types.is_time(t)) and t.unit == "ns"


def scalar(v, t):
    if isinstance(v, pa.Scalar):
        return v
    try:
        return pa.scalar(v, t)
    except (pa.ArrowInvalid, OverflowError):
        return None  # beyond the type's range


def beside(v, t):
    if isinstance(v, pa.Scalar) or isinstance(v, bool):
        return []
    if isinstance(v, int):
        return [scalar(v - 1, t), scalar(v + 1, t)]
    if isinstance(v, float) and pa.types.is_float64(t) and math.isfinite(v):
        return [scalar(math.nextafter(v, -math.inf), t), scalar(math.nextafter(v, math.inf), t)]
    if isinstance(v, decimal.Decimal):
        with decimal.localcontext() as ctx:
            ctx.prec = 60
            step = decimal.Decimal(1).scaleb(-t.scale)
            return [scalar(v - step, t), scalar(v + step, t)]
    if isinstance(v, str):
        return [scalar(v[:-1], t), scalar(v + "a", t)]
    if isinstance(v, bytes) and not pa.types.is_fixed_size_binary(t):
        return [scalar(v[:-1], t), scalar(v + b"\x00", t)]
    step = {datetime.date: datetime.timedelta(days=1), datetime.datetime: datetime.timedelta(microseconds=1000 if str(t).find("ms") > 0 else 1)}
    if type(v) in step:
        return [scalar(v - step[type(v)], t), scalar(v + step[type(v)], t)]
    return []


def written(directory):
    """The files that a merge wrote, of cases whose old files pyarrow can read."""
    for case in check.cases(directory):
        quirks = check.old_quirks(case)
        for f in sorted((case / "table").glob("*.parquet")):
            if quirks.readable and not quirks.nan_bounds and not (case / "old" / f.name).exists():
                yield f


def spark_cases(directory):
    for case in check.cases(directory):
        about = json.loads((case / "case.json").read_text())
        report = json.loads((case / "report.json").read_text())["partitions"]
        if about["spark_reads"] and any(p["status"] == "published" for p in report) and not (case / "spark-cannot").exists():
            yield case


def tasks(directory, probes):
    with open(directory / "spark-scan.json", "w", encoding="utf-8") as out:
        for case in spark_cases(directory):
            out.write(json.dumps({"task": "scan", "name": case.name, "in": str(case / "table"), "out": str(case / "scan"), "probes": probes}) + "\n")


def compare_spark(directory):
    checker, count = check.Checker(), 0
    for case in spark_cases(directory):
        about = json.loads((case / "case.json").read_text())
        checker.expect(case, about)
        types = {name: t for name, t, *_ in checker.db.execute("DESCRIBE old").fetchall()}
        select = ", ".join(f'"{c}"::{types[c]} AS "{c}"' for c in about["columns"])
        count += 1
        for reader in ("vectorised", "rows"):
            if not list((case / "scan").glob(f"{reader}-*.parquet")):
                checker.fault(case, f"Spark's reader ({reader}) gave nothing")
                continue
            checker.compare(case, about, f"(SELECT {select} FROM read_parquet('{case}/scan/{reader}-*.parquet', union_by_name = true))",
                            f"Spark, {reader}")
    print(f"= Spark's readers read {count} tables")
    return checker.faults


def main():
    if sys.argv[1] == "tasks":
        return tasks(pathlib.Path(sys.argv[2]), int(sys.argv[3]))
    if sys.argv[1] == "spark":
        sys.exit(1 if compare_spark(pathlib.Path(sys.argv[2])) else 0)
    prober, files = Prober(int(sys.argv[2])), 0
    for f in written(pathlib.Path(sys.argv[1])):
        files += 1
        try:
            prober.check(f)
        except Exception as e:  # noqa: BLE001: one file that can't be asked must not hide the others
            prober.fault(f, f"{type(e).__name__}: {e}"[:300])
    print(f"= {prober.asked} filters over {files} files")
    sys.exit(1 if prober.faults else 0)


if __name__ == "__main__":
    main()
