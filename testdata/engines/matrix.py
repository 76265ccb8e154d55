"""Every writer's every type, merged into: old files by one engine, a source by another, the outcome read by three.

    python matrix.py plan DIR SEED SHARE SPARK   old files and sources; tasks for Spark (if true) and parquet-go, who write
                                                 their own
    python matrix.py keep DIR                    copies of the old files, to be read beside the merged ones
    python matrix.py check DIR                   the tables after the upserts, read by DuckDB and pyarrow
    python matrix.py tasks DIR                   what Spark is to read
    python matrix.py again DIR                   what it is to read besides: old files of tables that it found wrong
    python matrix.py spark DIR                   the tables as Spark has read them
    python matrix.py figures DIR                 what was run, and what was left out

A combination is a writer, a type, a codec and a page version. With SHARE 1 each type of each writer is there with each codec,
in one of the page versions, by turns; with 2 in both, with less than 1 not all. What role the type has (payload, key or
version), dictionary, encoding, pages, who writes the source and all values are drawn from SEED. What must come out is
computed here from the values that were written, before any engine has read them.

An engine is left out of a combination only where it gives other values than were written already for the old files, or for
the source; each such finding is counted. Prints a line per fault and exits 1 where there are any.
"""

import collections
import concurrent.futures
import dataclasses
import filecmp
import json
import multiprocessing
import pathlib
import pickle
import re
import shutil
import sys
import typing

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import matrix_kinds as mk
import matrix_writers as mw

NAMES = ["id", "t", "x"]


@dataclasses.dataclass
class Combination:
    number: int
    writer: str
    kind: str
    codec: str
    page: int

    @property
    def name(self):
        return f"{self.number:04d}-{self.writer}-{self.kind}-{self.codec}-v{self.page}"


def workers():
    # Spawned, not forked: engines have threads, and a fork leaves their locks as they were.
    return concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))


def combinations():
    every = [(w, k, c, p) for w, (kinds, codecs, pages) in mw.WRITERS.items() for k in kinds for c in codecs for p in pages]
    return [Combination(i, *c) for i, c in enumerate(every)]


# -- rows ------------------------------------------------------------------------------------------------------------------


class Rows(typing.NamedTuple):
    """What a combination is about, in the model's values: a row is (id, t, x)."""

    old: list
    source: list  # rows with a flag: is it a delete
    want: list
    counts: dict
    args: list
    role: str


def make_rows(rng, c, style, by, n):
    k = mk.KINDS[c.kind]
    role = mw.pick(rng, ["payload", "key", "key", "version"] if k.key else ["payload"])
    # Files in Spark's legacy calendar: most sources leave old dates alone, the others must be refused.
    careful = style.get("calendar") == "LEGACY" and mw.chance(rng, 0.7)
    # A source with every row of the table, in its order: its files may become the table's.
    whole = by == c.writer and role == "payload" and not careful and mw.chance(rng, 0.3)
    fresh, gone = n // 10, 0 if whole else n // 20
    total = n + fresh
    if "fastparquet" in (c.writer, by):  # to pandas NaN is NULL, and NaT the lowest number
        k = dataclasses.replace(k, edges=[v for v in k.edges if v != mk.NAN and not (c.kind[:2] == "ts" and v == -2**63)])
    if c.kind == "ts_us_utc" and style.get("stamps") == "INT96":  # and what nanoseconds hold
        k = dataclasses.replace(k, edges=[v for v in k.edges if -2**63 <= v < 2**63])
    nulls = 0 if k.name == "repeated" else mw.pick(rng, [0, 0.1, 0.5]) if role != "key" else 0
    ids = [int(i) for i in np.sort(rng.choice(10 * total, total, replace=False))]
    composite = role == "key" and (k.small or mw.chance(rng, 0.3))
    if role == "key" and not composite:
        types = mk.distinct(rng, k, total)
    elif role == "version" and k.float:
        types = [0.5 if v == mk.NAN else v for v in mk.values(rng, k, total, nulls)]
    else:
        types = mk.values(rng, k, total, nulls)
    text = mk.KINDS["string"]
    rows = list(zip(ids, types, mk.values(rng, text, total, 0.1)))
    order = rng.permutation(total)
    if careful:  # the last ones go into the source
        order = sorted(order, key=lambda i: not mk.julian(k, types[i]))
    old, inserts = [rows[i] for i in sorted(order[:n])], [rows[i] for i in order[n:]]
    if role == "key" and not composite and mw.chance(rng, 0.6):
        old.sort(key=lambda row: mk.order_of(row[1]))
    source = [(row, False) for row in inserts]
    touched = rng.permutation(n)[:n // 6 + gone]
    if whole:
        touched = range(n)
    elif mw.chance(rng, 0.4):  # neighbours: whole pages and row groups stay as they are
        start = int(rng.integers(0, n - len(touched)))
        touched = np.arange(start, start + len(touched))
    if careful:
        touched = [i for i in touched if not mk.julian(k, old[i][1])]
        k = dataclasses.replace(k, edges=[v for v in k.edges if not mk.julian(k, v)])
    touched = sorted(touched, key=lambda i: mk.julian(k, old[i][1]))  # so that no old date is only in deletes
    for j, i in enumerate(touched):
        source.append((old[i], True) if j < gone else (change(rng, k, role, old[i], nulls), False))
    source = [source[i] for i in rng.permutation(len(source))]
    if whole:
        source.sort(key=lambda row: row[0][0])
    keys = {"key": ["t", "id"] if composite else ["t"]}.get(role, ["id"])
    args = ["--key", ",".join(keys), *([] if whole else ["--delete-when", "op=D"])]
    if role == "version":
        args += ["--order-by", "t"]
    if k.float and role == "key":
        args.append("--allow-float-keys")
    if role == "key" and mw.chance(rng, 0.3):  # a row without key: nothing matches it
        old.insert(int(rng.integers(n)), (-1, None, "no key"))
    want, counts = merge(old, source, [NAMES.index(x) for x in keys], role == "version")
    return Rows(old, source, want, counts, args, role)


def change(rng, k, role, row, nulls):
    row_id, t, x = row
    if mw.chance(rng, 0.7):
        x = mk.values(rng, mk.KINDS["string"], 20, 0.1)[0]
    if role != "key" and mw.chance(rng, 0.7):
        t = mw.pick(rng, k.edges) if mw.chance(rng, 0.3) else k.draw(rng)
        if nulls and mw.chance(rng, 0.1):
            t = None
        if role == "version" and t == mk.NAN:
            t = 1.5
    return row_id, t, x


def merge(old, source, keys, versioned):
    """The model of an upsert, with what the report must count."""
    def key(row):
        return tuple(mk.key_of(row[i]) for i in keys)
    want, inserts = dict(enumerate(old)), []
    at = {key(row): i for i, row in enumerate(old) if None not in key(row)}
    counts = collections.Counter(old=len(old), source=len(source))
    for row, delete in source:
        i = at.get(key(row))
        if i is None:
            counts["ignored" if delete else "inserted"] += 1
            if not delete:
                inserts.append(row)
        elif versioned and mk.order_of(row[1]) < mk.order_of(old[i][1]):
            counts["stale_skipped"] += 1
        elif delete:
            counts["deleted"] += 1
            del want[i]
        else:
            counts["unchanged" if row == old[i] else "updated"] += 1
            want[i] = row
    return [*want.values(), *inserts], dict(counts)


# -- plan ------------------------------------------------------------------------------------------------------------------


def plan_one(directory, seed, c):
    """Writes a combination's files, or returns the tasks for those who do."""
    rng = np.random.default_rng([seed, c.number])
    # DuckDB's row groups have 2,048 rows at the least.
    n = 2600 if c.writer == "duckdb" and mw.chance(rng, 0.1) else int(rng.integers(150, 400))
    style = source_style = mw.style(rng, c.writer, c.kind, c.codec, c.page, n)
    others = [w for w, (kinds, _, _) in mw.WRITERS.items() if c.kind in kinds and w not in ("spark", "parquet-go", c.writer)]
    if others and mw.chance(rng, 0.6):
        source_style = any_style(rng, mw.pick(rng, others), c.kind, n // 3)
    elif mw.chance(rng, 0.5):
        source_style = any_style(rng, c.writer, c.kind, n // 3)
    rows = make_rows(rng, c, style, source_style["writer"], n)
    case = directory / f"case-{c.name}"
    for folder in ("table", "source"):
        (case / folder).mkdir(parents=True)
    required = mw.chance(rng, 0.3)
    tasks = [write_rows(rows.old, None, case / "table/part-0.parquet", c, style, required)]
    flags = ["D" if delete else None for _, delete in rows.source] if "--delete-when" in rows.args else None
    tasks.append(write_rows([r for r, _ in rows.source], flags, case / "source/s.parquet", c, source_style, required))
    about = {"args": ["--from", "source", *rows.args], "refused": refusal(c, rows, style, source_style)}
    (case / "case.json").write_text(json.dumps(about))
    with open(case / "model.pickle", "wb") as f:
        pickle.dump((c, rows, style, source_style), f)
    return c.writer, source_style["writer"], tasks


def any_style(rng, writer, kind, rows):
    _, codecs, pages = mw.WRITERS[writer]
    return mw.style(rng, writer, kind, mw.pick(rng, codecs), mw.pick(rng, pages), rows)


def refusal(c, rows, style, source_style):
    """Words, one of which a combination must be refused with, or none: what can't be merged without a guess."""
    words = []
    if c.kind == "ts_us_utc" and (style.get("stamps") == "INT96") != (source_style.get("stamps") == "INT96"):
        words.append("timestamp with time zone against one without")  # INT96 doesn't say which it is
    if any(mk.julian(mk.KINDS[c.kind], row[1]) for row, _ in rows.source):
        if "LEGACY" in (style.get("calendar"), source_style.get("calendar")):
            words.append("in the Julian calendar of Spark before 3.0")
    return words


def write_rows(rows, flags, path, c, style, required):
    k, text = mk.KINDS[c.kind], mk.KINDS["string"]
    ids, types, texts = (list(col) for col in zip(*rows)) if rows else ([], [], [])
    columns = [("id", mk.KINDS["int64"], ids, required), ("t", k, types, required and None not in types), ("x", text, texts, False)]
    if flags is not None:
        columns.insert(1, ("op", text, flags, False))  # parquet-go has its columns in the order of their names
    return mw.write(columns, path, style)


def plan(directory, seed, share, spark):
    todo = [c for c in combinations() if spark or c.writer != "spark"]
    if share < 2:
        todo = [c for c in todo if c.page == 1 + (c.number // 2 + seed) % 2 or mw.WRITERS[c.writer][2] == [1]]
    if share < 1:
        rng = np.random.default_rng(seed)
        todo = [todo[i] for i in sorted(rng.permutation(len(todo))[:int(len(todo) * share)])]
    tasks = {"spark": [], "parquet-go": []}
    with workers() as pool:
        for old, source, made in pool.map(plan_one, *zip(*((directory, seed, c) for c in todo)), chunksize=20):
            for writer, task in zip((old, source), made):
                if task is not None:
                    tasks[writer].append(task)
    for writer, all_of_it in tasks.items():
        with open(directory / f"{writer}-write.json", "w", encoding="utf-8") as f:
            f.writelines(json.dumps(t) + "\n" for t in all_of_it)


# -- what engines read -----------------------------------------------------------------------------------------------------


DUCKDB = duckdb.connect()
DUCKDB.execute("SET TimeZone = 'UTC'; SET threads = 1; SET enable_object_cache = false")


def by_duckdb(files, k):
    names = ", ".join(f"'{f}'" for f in files)
    return tuples(k, DUCKDB.execute(f"SELECT id, t, x FROM read_parquet([{names}], union_by_name = true)").to_arrow_table())


def by_pyarrow(files, k):
    rows = []
    for f in files:
        rows += tuples(k, pq.read_table(f, columns=NAMES, page_checksum_verification=True))
    return rows


READERS = {"DuckDB": by_duckdb, "pyarrow": by_pyarrow}


def tuples(k, table):
    kinds = {"id": mk.KINDS["int64"], "t": k, "x": mk.KINDS["string"]}
    return list(zip(*(mk.canon(kinds[n], table[n]) for n in NAMES)))


def difference(got, want):
    """What is wrong with rows that were read, or an empty text."""
    if isinstance(got, str):
        return got
    have, need = collections.Counter(got), collections.Counter(want)
    if have == need:
        return ""
    missing, extra = list((need - have).items()), list((have - need).items())
    return f"{len(missing)} rows missing, such as {missing[:1]!r:.300}; {len(extra)} too many, such as {extra[:1]!r:.300}"


def attempt(read, *args):
    try:
        return read(*args)
    except Exception as e:  # noqa: BLE001: whatever an engine has against a file is what we want to know
        return f"{type(e).__name__}: {e}"[:300]


class Verdict(typing.NamedTuple):
    name: str
    faults: list
    left_out: list  # (engine, writer, type, reason)
    read: list  # engines that have judged


# Found by this, and no fault of the merge, so that these are what figures() tells of:
#
#   - Spark has no codec for brotli without a jar of its own, and reads LZ4 under its old id only in Hadoop's framing; no TIME,
#     UUID, INTERVAL, FLOAT16 and no decimal past 38 digits; no BYTE_STREAM_SPLIT of integers and fixed bytes (3.5); in INT96
#     no nanoseconds; with its vectorised reader no DELTA_LENGTH_BYTE_ARRAY that is right, and no decimals on byte
#     arrays where they would fit an integer.
#   - DuckDB holds TIME and INT96 in microseconds, decimals past 38 digits as DOUBLE, and has no BYTE_STREAM_SPLIT of fixed
#     bytes; neither it nor pyarrow know Spark's legacy calendar.
#   - pyarrow rejects DuckDB's delta pages without values.
def judge(case, readers):
    """Holds a merged table against the model, by each engine that reads the old file and the source as they were written."""
    with open(case / "model.pickle", "rb") as f:
        c, rows, *_ = pickle.load(f)
    k = mk.KINDS[c.kind]
    faults, left_out, read = [], [], []
    table = sorted((case / "table").glob("*.parquet"))
    for engine, reader in readers.items():
        wrong = difference(attempt(reader, table, k), rows.want)
        if not wrong:
            read.append(engine)
            continue
        before = difference(attempt(reader, [case / "old/part-0.parquet"], k), rows.old)
        if not before:
            before = difference(attempt(reader, [case / "source/s.parquet"], k), [r for r, _ in rows.source])
            if before:
                before = "the source: " + before
        if before:
            left_out.append((engine, c.writer, c.kind, before))
        else:
            faults.append(f"{engine}: {wrong}")
    return Verdict(case.name, faults, left_out, read)


def check_one(case):
    return verdict_of_files(case, judge(case, READERS))


def verdict_of_files(case, v):
    """Adds what needs no engine to say: schema and counters."""
    with open(case / "model.pickle", "rb") as f:
        c, rows, *_ = pickle.load(f)
    old = attempt(lambda: pq.read_schema(case / "old/part-0.parquet"))
    for f in sorted((case / "table").glob("*.parquet")):
        new = attempt(lambda f=f: pq.read_schema(f))
        if new != old:
            v.faults.append(f"schema of {f.name}: {new!s:.300}, was {old!s:.300}")
    total = json.loads((case / "report.json").read_text())["total"]["rows"]
    wrong = {n: (total.get(n), rows.counts.get(n, 0)) for n in
             ("old", "source", "inserted", "updated", "unchanged", "deleted", "stale_skipped", "ignored")
             if total.get(n) != rows.counts.get(n, 0)}
    if wrong:
        v.faults.append(f"counters (have, want): {wrong}")
    return v


def cases(directory):
    return sorted(d for d in directory.glob("case-*") if (d / "report.json").exists())


def check_refused(case):
    """A refused table is as it was, byte for byte."""
    same = filecmp.dircmp(case / "table", case / "old")
    if same.left_only or same.right_only or not filecmp.cmp(case / "table/part-0.parquet", case / "old/part-0.parquet", shallow=False):
        print(f"{case.name}: refused, but the table is not as it was", flush=True)
        return 1
    return 0


def check(directory):
    with workers() as pool:
        verdicts = list(pool.map(check_one, cases(directory), chunksize=20))
    with open(directory / "verdicts.pickle", "wb") as f:
        pickle.dump(verdicts, f)
    return sum(print_faults(v) for v in verdicts) + sum(check_refused(f.parent) for f in directory.glob("case-*/refused"))


def print_faults(v):
    for fault in v.faults:
        print(f"{v.name}: {fault}", flush=True)
    return len(v.faults)


# -- Spark -----------------------------------------------------------------------------------------------------------------


def dump_task(case, folder):
    files = [str(f) for f in sorted((case / folder).glob("*.parquet"))]
    return json.dumps({"task": "dump", "name": f"{case.name}/{folder}", "files": files, "columns": NAMES,
                       "out": str(case / f"spark-{folder}.json")}) + "\n"


def spark_tasks(directory):
    with open(directory / "spark-read.json", "w", encoding="utf-8") as out:
        out.writelines(dump_task(case, "table") for case in cases(directory))


def spark_again(directory):
    """Where Spark has read a table wrongly, or not at all, it reads what was there before, for the blame."""
    with workers() as pool:
        todo = [case for case, right in zip(cases(directory), pool.map(spark_is_right, cases(directory), chunksize=20)) if not right]
    with open(directory / "spark-again.json", "w", encoding="utf-8") as out:
        out.writelines(dump_task(case, folder) for case in todo for folder in ("old", "source"))


def spark_is_right(case):
    with open(case / "model.pickle", "rb") as f:
        c, rows, *_ = pickle.load(f)
    table = sorted((case / "table").glob("*.parquet"))
    return not any(difference(attempt(read, table, mk.KINDS[c.kind]), rows.want) for read in SPARK_READERS.values())


def by_spark(reader):
    def read(files, _):
        folder = files[0].parent
        with open(folder.parent / f"spark-{folder.name}.json", encoding="utf-8") as f:
            dump = json.load(f)
        rows = dump[reader]
        if rows == "same":
            rows = dump["vectorised"]
        if isinstance(rows, str):
            raise ValueError(rows)
        return [mk.from_spark(row) for row in rows]
    return read


SPARK_READERS = {"Spark": by_spark("vectorised"), "Spark's row reader": by_spark("rows")}


def judge_spark(case):
    return judge(case, SPARK_READERS)


def check_spark(directory):
    with workers() as pool:
        verdicts = list(pool.map(judge_spark, cases(directory), chunksize=20))
    with open(directory / "verdicts-spark.pickle", "wb") as f:
        pickle.dump(verdicts, f)
    return sum(print_faults(v) for v in verdicts)


# -- figures ---------------------------------------------------------------------------------------------------------------


def figures(directory):
    """Prints one line of figures, after one for each engine and type that was left out."""
    faults, writers, left, judges = 0, collections.Counter(), {}, collections.Counter()
    by_case = collections.defaultdict(list)
    for name in ("verdicts.pickle", "verdicts-spark.pickle"):
        if (directory / name).exists():
            with open(directory / name, "rb") as f:
                for v in pickle.load(f):
                    by_case[v.name].append(v)
    for name, verdicts in by_case.items():
        with open(directory / name / "model.pickle", "rb") as f:
            c, rows, *_ = pickle.load(f)
        writers[c.writer] += 1
        writers["as " + rows.role] += 1
        read = [e for v in verdicts for e in v.read]
        judges.update(read)
        for v in verdicts:
            for engine, writer, kind, why in v.left_out:
                left.setdefault((engine, writer, kind), []).append(why)
        if not read and not any(v.faults for v in verdicts):
            faults += 1
            print(f"{name}: no engine reads what was written: {[w for v in verdicts for w in v.left_out]!r:.600}")
    reasons = collections.defaultdict(collections.Counter)
    for (engine, writer, kind), whys in left.items():
        for why in whys:
            why = re.sub(r"missing, such as .*", "missing", why) if "such as" in why else re.sub(r"\d+", "N", why)
            reasons[engine, re.sub(r"\d+ rows", "other rows", why)[:110]][f"{writer}'s {kind}"] += 1
    for (engine, why), whose in sorted(reasons.items()):
        print(f"= left out: {engine}, {sum(whose.values())} times, {', '.join(sorted(whose)):.160}: {why}")
    refused = len(list(directory.glob("case-*/refused")))
    print(f"= {len(by_case) + refused} combinations ({', '.join(f'{n} {w}' for w, n in sorted(writers.items()))}); "
          f"{refused} refused as they must be; judged by {', '.join(f'{e} {n}' for e, n in sorted(judges.items()))}; "
          f"engines left out {sum(len(w) for w in left.values())} times")
    return faults


def main():
    what, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    match what:
        case "plan":
            directory.mkdir(parents=True, exist_ok=True)
            return plan(directory, int(sys.argv[3]), float(sys.argv[4]), sys.argv[5] == "true")
        case "keep":
            for case in directory.glob("case-*"):
                shutil.copytree(case / "table", case / "old")
            return None
        case "tasks":
            return spark_tasks(directory)
        case "again":
            return spark_again(directory)
    found = {"check": check, "spark": check_spark, "figures": figures}[what](directory)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
