"""Random upserts for the engine tests: old files, sources and arguments.

    python cases.py DIR CASES SEED [SPARK_CASES]

makes DIR/<case>/ with

    table/      the old files, which the upsert changes
    old/        the same files, kept for the comparison
    source/     what is merged, in Parquet, CSV or NDJSON
    truth/      the source's rows as typed Parquet, where source/ is text
    case.json   the arguments of `hupsert upsert`, and what check.py needs to know

The first SPARK_CASES of them are left to Spark to write: DIR/spark-write.json is the list of tasks for it, and old/ is
linked from table/ by `python cases.py link DIR` afterwards. The same SEED gives the same cases.
"""

import datetime
import decimal
import json
import os
import pathlib
import shutil
import sys

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

WORDS = np.array(["", "a", "AIR", "RAIL", "TRUCK", "résumé", "한국어", "x\x00y", "it's", 'say "no"', "comma, comma", "two\nlines", " pad "])
EPOCH = np.datetime64("2019-01-01")


def decimals(ints, precision, scale):
    with decimal.localcontext() as ctx:
        ctx.prec = 40
        return pa.array([decimal.Decimal(int(i)).scaleb(-scale) for i in ints], pa.decimal128(precision, scale))


def ints(bits, signed=True):
    def make(rng, n):
        dtype = np.dtype(f"{'' if signed else 'u'}int{bits}")
        info = np.iinfo(dtype)
        low, high = (info.min, info.max) if rng.random() < 0.5 else (0, min(100, info.max))
        return pa.array(rng.integers(low, high, n, dtype=dtype, endpoint=True))
    return make


def floats(dtype):
    def make(rng, n):
        v = (rng.standard_normal(n) * 1000).astype(dtype)
        if n and rng.random() < 0.5:
            v[rng.random(n) < 0.1] = np.nan
            v[rng.random(n) < 0.1] = -0.0
            v[rng.random(n) < 0.1] = 0.0
        return pa.array(v)
    return make


def many_strings(rng, n):
    return pa.array([f"row {i} {'.' * (i % 17)}" for i in rng.integers(0, 10**9, n)])


def long_strings(rng, n):
    # Equal for the first hundred bytes: bounds have to be cut, and a cut maximum has to be rounded up.
    return pa.array(["é" * 50 + str(i) + "\uffff" * int(i % 3) for i in rng.integers(0, 1000, n)])


def timestamps(unit, tz=None):
    step = {"ms": 1, "us": 1000, "ns": 1000_000}[unit]

    def make(rng, n):
        millis = rng.integers(1_500_000_000_000, 1_800_000_000_000, n)
        extra = rng.integers(0, step, n) // (1000 if unit == "ns" else 1) * (1000 if unit == "ns" else 1)
        return pa.array(millis * step + extra).cast(pa.timestamp(unit, tz))
    return make


def lists(item):
    def make(rng, n):
        values = item(rng, 3 * n)
        out, at = [], 0
        pool = values.to_pylist()
        for size in rng.integers(-1, 4, n):
            out.append(None if size < 0 else [None if rng.random() < 0.1 else v for v in pool[at:at + size]])
            at += max(size, 0)
        return pa.array(out, pa.list_(values.type))
    return make


def structs(rng, n):
    a, b = ints(32)(rng, n), pa.array(rng.choice(WORDS, n))
    return pa.StructArray.from_arrays([with_nulls(rng, a, 0.2), b], ["a", "b"])


def maps(rng, n):
    rows = [[(f"k{j}", int(v)) for j, v in enumerate(rng.integers(0, 9, size))] for size in rng.integers(0, 4, n)]
    return pa.array(rows, pa.map_(pa.string(), pa.int64()))


def with_nulls(rng, array, share):
    if share == 0 or len(array) == 0:
        return array
    return pc.if_else(pa.array(rng.random(len(array)) < share), pa.scalar(None, array.type), array)


# Payload types by name. The sets below say who can't carry one unchanged.
KINDS = {
    "int8": ints(8), "int16": ints(16), "int32": ints(32), "int64": ints(64),
    "uint8": ints(8, False), "uint16": ints(16, False), "uint32": ints(32, False), "uint64": ints(64, False),
    "float": floats("float32"), "double": floats("float64"),
    "bool": lambda rng, n: pa.array(rng.random(n) < 0.5),
    "word": lambda rng, n: pa.array(rng.choice(WORDS, n)),
    "string": many_strings, "long": long_strings,
    "binary": lambda rng, n: pa.array([rng.bytes(int(k)) for k in rng.integers(0, 9, n)], pa.binary()),
    "fixed": lambda rng, n: pa.array([rng.bytes(6) for _ in range(n)], pa.binary(6)),
    "date": lambda rng, n: pa.array(EPOCH + rng.integers(-20000, 20000, n)),
    "time": lambda rng, n: pa.array(rng.integers(0, 86_400_000_000, n)).cast(pa.time64("us")),
    "ts_ms": timestamps("ms"), "ts_us": timestamps("us"), "ts_ns": timestamps("ns"), "ts_utc": timestamps("us", "UTC"),
    "dec9": lambda rng, n: decimals(rng.integers(-10**8, 10**8, n), 9, 2),
    "dec18": lambda rng, n: decimals(rng.integers(-10**17, 10**17, n), 18, 4),
    "dec38": lambda rng, n: decimals(rng.integers(-10**18, 10**18, n).astype(object) * 10**11, 30, 6),
    "list": lists(ints(32)), "words": lists(lambda rng, n: pa.array(rng.choice(WORDS, n))),
    "struct": structs, "map": maps,
}
NOT_POLARS = {"map", "fixed", "time", "ts_ns"}
NOT_DUCKDB = {"fixed"}
# No unsigned integers either: Spark reads them, but writes wider signed ones.
NOT_SPARK = {"time", "ts_ns", "ts_ms", "fixed", "uint8", "uint16", "uint32", "uint64"}
SPARK_READS = set(KINDS) - {"time", "ts_ns"}
NOT_TEXT = {"binary", "fixed", "list", "words", "struct", "map", "float", "double"}

# Key types: an injective function of an id.
KEYS = {
    "int16": lambda i: pa.array((i - 5000).astype(np.int16)),
    "int32": lambda i: pa.array((i * 3 - 7000).astype(np.int32)),
    "int64": lambda i: pa.array(i * 1_000_000_007 - 2**40),
    "uint32": lambda i: pa.array((2**31 - 5000 + i).astype(np.uint32)),
    "string": lambda i: pa.array([f"key-{(k * 7919) % 1000003}" for k in i.tolist()], pa.string()),
    "binary": lambda i: pa.array([int(k).to_bytes(3, "little") for k in i.tolist()], pa.binary()),
    "date": lambda i: pa.array(EPOCH + i),
    "ts_us": lambda i: pa.array(i * 1_000_001 + 1_600_000_000_000_000).cast(pa.timestamp("us")),
    "dec9": lambda i: decimals(i * 7 - 20000, 9, 2),
    "dec18": lambda i: decimals(i * 10**9 - 10**12, 18, 4),
    "dec38": lambda i: decimals(i.astype(object) * 10**15 - 10**18, 30, 6),
}
KEYS_NOT_SPARK = {"uint32"}

# Arrow guesses types from values, and has nothing to guess from in an empty column.
TYPES = {kind: make(np.random.default_rng(0), 9).type for kind, make in KINDS.items()}
KEY_TYPES = {kind: make(np.arange(3)).type for kind, make in KEYS.items()}


class Case:
    """One random case; everything in it is drawn from rng."""

    def __init__(self, directory, rng, spark):
        self.dir, self.rng, self.spark = directory, rng, spark
        self.args, self.about, self.codecs = [], {}, []
        self.spark_knows = True  # all encodings
        self.like_old = False  # the source's files are written as the table's

    def chance(self, p):
        return self.rng.random() < p

    def pick(self, options):
        options = sorted(options) if isinstance(options, set) else list(options)
        return options[int(self.rng.integers(len(options)))]

    # -- rows ---------------------------------------------------------------------------------------------------------

    def choose_schema(self):
        rng = self.rng
        self.writer = "spark" if self.spark else self.pick(["pyarrow", "pyarrow", "duckdb", "polars"])
        banned = {"polars": NOT_POLARS, "duckdb": NOT_DUCKDB, "spark": NOT_SPARK}.get(self.writer, set())
        # Text sources name no nested values and no bytes: decided before the schema, which must then do without.
        self.text = None if self.spark else self.pick([None] * 6 + ["csv", "ndjson"])
        if self.text:
            banned = banned | NOT_TEXT
        elif not self.spark and self.chance(0.3):
            banned = banned | (set(KINDS) - SPARK_READS)  # so that enough cases can be read back by Spark
        keys = set(KEYS) - (KEYS_NOT_SPARK if self.spark else set()) - ({"binary"} if self.text else set())
        self.key_kinds = [self.pick(keys) for _ in range(self.pick([1, 1, 2]))]
        self.keys = [f"k{i}" for i in range(len(self.key_kinds))]
        self.payload_kinds = [self.pick(set(KINDS) - banned) for _ in range(int(rng.integers(1, 7)))]
        self.payload = [f"p{i}" for i in range(len(self.payload_kinds))]
        self.null_share = {p: self.pick([0, 0, 0.1, 0.5, 1]) for p in self.payload}
        self.versioned = self.chance(0.35)
        self.version_kind = self.pick(["int64", "ts_us", "date"])

    def key_columns(self, ids):
        """Key columns of ids; id -1 has a NULL in its first key column."""
        ids = np.asarray(ids, dtype=np.int64)
        parts = [ids] if len(self.keys) == 1 else [ids // 37, ids % 37]
        columns = [KEYS[k](np.maximum(part, 0)).cast(KEY_TYPES[k]) for k, part in zip(self.key_kinds, parts)]
        columns[0] = pc.if_else(pa.array(ids < 0), pa.scalar(None, columns[0].type), columns[0])
        return dict(zip(self.keys, columns))

    def random_rows(self, ids):
        n = len(ids)
        columns = self.key_columns(ids)
        for name, kind in zip(self.payload, self.payload_kinds):
            values = KINDS[kind](self.rng, n).cast(TYPES[kind])
            columns[name] = with_nulls(self.rng, values, self.null_share[name])
        if self.versioned:
            # Few different versions, so that ties are common.
            base = KEYS[self.version_kind](self.rng.integers(0, 6, n)).cast(KEY_TYPES[self.version_kind])
            columns["ver"] = with_nulls(self.rng, base, 0.1)
        return pa.table(columns)

    def make_rows(self):
        rng = self.rng
        n = self.pick([0, 1, 7, 100, 800, 3000])
        universe = 2 * n + 50
        ids = rng.choice(universe, n, replace=False)
        if self.chance(0.6):
            ids.sort()
        self.null_key = self.chance(0.2)
        old_ids = np.concatenate([ids, [-1]]) if self.null_key and n else ids
        self.doubled = bool(self.chance(0.15) and n)
        if self.doubled:  # keys that old holds twice; no source touches them
            old_ids = np.concatenate([old_ids, np.repeat(np.arange(universe, universe + 3), 2)])
        self.old = self.random_rows(old_ids)

        hit = {"none": 0, "few": min(n, 3), "some": n // 10, "most": n * 9 // 10, "all": n}[
            self.pick(["none", "few", "some", "most", "all"])]
        at = np.arange(n)
        if self.chance(0.5) and n:
            start = int(rng.integers(0, n - hit + 1))
            at = at[start:start + hit]  # neighbours
        else:
            at = rng.choice(at, hit, replace=False)
        fresh = np.setdiff1d(np.arange(universe), ids)
        fresh = rng.choice(fresh, min(len(fresh), self.pick([0, 2, n // 20 + 1, n // 2 + 5])), replace=False)
        updates = self.change(self.old.take(pa.array(at)))
        inserts = self.random_rows(fresh)
        self.source = pa.concat_tables([updates, inserts])
        self.source = self.source.take(pa.array(rng.permutation(len(self.source))))
        self.about["touched"] = bool(len(self.source))

    def change(self, rows):
        """Rows with the same keys, of which some columns of some rows get new values."""
        n = len(rows)
        fresh = self.random_rows(np.zeros(n, dtype=np.int64))
        for i, name in enumerate(rows.column_names):
            if name in self.keys or name not in fresh.column_names or (self.chance(0.4) and name != "ver"):
                continue
            mask = pa.array(self.rng.random(n) < self.pick([0.05, 0.5, 1]))
            rows = rows.set_column(
                i, name, pc.if_else(mask, fresh[name].combine_chunks(), rows[name].combine_chunks()))
        return rows

    # -- arguments ----------------------------------------------------------------------------------------------------

    def choose_mode(self):
        self.mode = self.pick(["upsert", "upsert", "upsert", "insert", "update", "delete", "mirror"])
        self.args = ["--key", ",".join(self.keys), "--mode", self.mode]
        if self.mode == "mirror":
            self.args += ["--max-delete-ratio", "1", "--allow-empty"]
        a = self.about
        a.update(mode=self.mode, keys=self.keys, columns=self.old.column_names, order_by=[], null_match=False)
        self.choose_versions()
        self.choose_null_keys()
        self.choose_deletes()
        self.choose_duplicates()
        self.choose_columns()
        a["ignore_version"] = bool(a["order_by"]) and self.chance(0.15)
        if a["ignore_version"]:
            self.args.append("--ignore-version")

    def replace_all(self):
        """A source that holds every old key, sorted, in files like the old ones: they may become the partition's."""
        self.mode, self.text, self.like_old = self.pick(["upsert", "mirror"]), None, True
        if self.doubled:
            self.old = self.old.slice(0, len(self.old) - 6)
        source = self.change(self.old)
        for k in self.keys:
            source = source.filter(pc.is_valid(source[k]))
        self.source = source.sort_by([(k, "ascending") for k in self.keys])
        self.args = ["--key", ",".join(self.keys), "--mode", self.mode, "--source-duplicates", "last"]
        if self.mode == "mirror":
            self.args += ["--max-delete-ratio", "1", "--allow-empty"]
        self.about.update(
            mode=self.mode, keys=self.keys, columns=self.old.column_names, order_by=[], null_match=False, duplicates="last",
            delete_when=None, updated=self.payload + (["ver"] if self.versioned else []), keep_null=[], ignore_version=False)
        self.about["touched"] = bool(len(self.source))

    def choose_versions(self):
        if not self.versioned or self.chance(0.2):
            return
        desc = self.chance(0.3)
        self.about["order_by"] = [["ver", desc]]
        self.args += ["--order-by", "ver:desc" if desc else "ver"]

    def choose_null_keys(self):
        if self.null_key and self.chance(0.5):
            self.about["null_match"] = True
            self.args += ["--null-keys", "match"]
            if self.chance(0.6):
                self.source = pa.concat_tables([self.source, self.random_rows(np.array([-1]))])

    def choose_duplicates(self):
        """Some keys twice in the source, where a rule says which row counts."""
        self.about["duplicates"] = "last"
        if self.chance(0.6) or not len(self.source):
            return
        again = self.source.take(pa.array(self.rng.integers(0, len(self.source), min(5, len(self.source)))))
        if self.about["order_by"]:
            again = self.change(again)
        elif self.chance(0.7):
            rule = self.pick(["first", "last"])
            self.about["duplicates"] = rule
            self.args += ["--source-duplicates", rule]
            again = self.change(again)
        elif {"float", "double"} & set(self.payload_kinds):
            return  # equal copies must be equal for every reader
        self.source = pa.concat_tables([self.source, again])

    def choose_deletes(self):
        self.about["delete_when"] = None
        if self.mode not in ("upsert", "mirror") or self.chance(0.6):
            return
        n = len(self.source)
        if self.chance(0.5):
            self.source = self.source.append_column("op", pa.array(self.rng.choice(["D", "U", "I", None], n), pa.string()))
            self.about["delete_when"] = "op = 'D'"
            self.args += ["--delete-when", "op=D"]
        else:
            gone = with_nulls(self.rng, pa.array(self.rng.random(n) < 0.3, pa.bool_()), 0.2)
            self.source = self.source.append_column("gone", gone)
            self.about["delete_when"] = "gone"
            # Text has no booleans for a column that the table lacks.
            self.args += ["--delete-when", "gone=true" if self.text else "gone"]

    def choose_columns(self):
        """Which payload columns are updated, and which of them a NULL leaves alone."""
        rest = ["ver"] if self.versioned else []
        updated = list(self.payload)
        if self.mode == "delete":
            if self.chance(0.7):
                self.source = self.source.drop_columns(self.payload)
        elif len(self.payload) > 1 and self.chance(0.3):
            updated = sorted(self.rng.choice(self.payload, int(self.rng.integers(1, len(self.payload))), replace=False))
            left = [p for p in self.payload if p not in updated]
            if self.chance(0.5):
                self.args += ["--columns", ",".join(updated + rest)]
            else:
                self.args += ["--except-columns", ",".join(left)]
            if self.chance(0.5):
                self.source = self.source.drop_columns(left)
        self.about["updated"] = updated + rest
        self.about["keep_null"] = []
        if self.mode != "delete" and self.chance(0.2):
            self.about["keep_null"] = [self.pick(updated)]
            self.args += ["--keep-null", self.about["keep_null"][0]]

    # -- files --------------------------------------------------------------------------------------------------------

    def restyle_source(self):
        """The same values, delivered otherwise: columns shuffled, names in capitals, types narrower or wider."""
        s = self.source
        for i, name in enumerate(s.column_names):
            t, column = s.schema.field(i).type, s.column(i)
            to = None
            if not self.text and not self.spark and self.chance(0.2):
                to = {pa.int64(): pa.int32(), pa.int32(): pa.int64(), pa.int16(): pa.int32(), pa.string(): pa.large_string(),
                      pa.decimal128(9, 2): pa.decimal128(20, 2), pa.timestamp("ms"): pa.timestamp("us"),
                      pa.timestamp("us"): pa.timestamp("ns")}.get(t)
                if t == pa.string() and self.chance(0.5):
                    s = s.set_column(i, name, column.dictionary_encode())
                    continue
            if to is not None:
                try:
                    s = s.set_column(i, name, column.cast(to))
                except pa.ArrowInvalid:
                    pass  # the values don't fit the narrower type
        if self.chance(0.3):
            s = s.select(list(self.rng.permutation(s.column_names)))
        if self.chance(0.2) and not self.text:
            s = s.rename_columns([c.upper() for c in s.column_names])
        self.source = s

    def split(self, table, most):
        """The rows in one to most parts, in order; parts may be empty."""
        parts = int(self.rng.integers(1, most + 1))
        cuts = [0, *sorted(self.rng.integers(0, len(table) + 1, parts - 1).tolist()), len(table)]
        return [table.slice(a, b - a) for a, b in zip(cuts, cuts[1:])]

    def write(self, spark_tasks):
        if self.dir.exists():
            shutil.rmtree(self.dir)
        for sub in ("table", "source"):
            (self.dir / sub).mkdir(parents=True)
        old = self.split(self.old, 3)
        if self.spark:
            self.write_by_spark(old, spark_tasks)
        else:
            style = self.table_style = self.style(self.writer, self.old.schema)
            # Where rows go, the one file that has a column may.
            stays = self.mode in ("upsert", "insert", "update") and not self.about["delete_when"]
            if not self.like_old and self.chance(0.25) and stays:
                old = old[:1] + [self.drift(part) for part in old[1:]]
            for i, part in enumerate(old):
                write_parquet(self.writer, part, self.dir / f"table/part-{i}.parquet", style)
            shutil.copytree(self.dir / "table", self.dir / "old")
            self.write_source()
        kinds = set(self.payload_kinds) | set(self.key_kinds)
        # Spark comes without Brotli.
        self.about["spark_reads"] = kinds <= SPARK_READS | set(KEYS) and "brotli" not in self.codecs and self.spark_knows
        self.about["writer"] = self.writer
        (self.dir / "case.json").write_text(json.dumps({"args": self.args, **self.about}, indent=1, default=str) + "\n")

    def drift(self, part):
        """A file of another time: without some columns, others in a narrower type."""
        self.spark_knows = False  # it refuses files of different types
        for name in self.payload:
            i = part.schema.get_field_index(name)
            narrow = {pa.int64(): pa.int32(), pa.int32(): pa.int16()}.get(part.schema.field(i).type)
            if self.chance(0.3) and len(part.column_names) > len(self.keys) + 1:
                part = part.drop_columns([name])
            elif narrow is not None and self.chance(0.5):
                try:
                    part = part.set_column(i, name, part.column(i).cast(narrow))
                except pa.ArrowInvalid:
                    pass  # the values don't fit the narrower type
        return part

    def write_source(self):
        parts = self.split(self.source, 2)
        if self.text == "csv" and len(self.source.column_names) == 1:
            self.text = "ndjson"  # a NULL would be an empty line, which is no row
        if self.text:
            (self.dir / "truth").mkdir()
        writer = self.pick(["pyarrow", "pyarrow", "duckdb", "polars"])
        if set(self.payload_kinds) & (NOT_POLARS | NOT_DUCKDB) or any(pa.types.is_dictionary(f.type) for f in self.source.schema):
            writer = "pyarrow"
        style = self.style(writer, self.source.schema)
        if self.like_old:
            writer, style = self.writer, self.table_style
        for i, part in enumerate(parts):
            if self.text:
                pq.write_table(part, self.dir / f"truth/s{i}.parquet")
                write_text(self.text, part, self.dir / f"source/s{i}.{self.text}")
            else:
                write_parquet(writer, part, self.dir / f"source/s{i}.parquet", style)
        if self.chance(0.5):
            self.args += ["--from", "source"]
        else:
            for i in range(len(parts)):
                self.args += ["--from", f"source/s{i}.{self.text or 'parquet'}"]

    def write_by_spark(self, old, tasks):
        """Rows go to raw/, and tasks let Spark write them into table/ and source/: its files look unlike all others."""
        (self.dir / "raw").mkdir()
        options = {
            "compression": self.pick(["snappy", "gzip", "zstd", "none"]),
            "parquet.page.row.count.limit": self.pick(["10", "100", "20000"]),
            "parquet.writer.version": self.pick(["PARQUET_1_0", "PARQUET_1_0", "PARQUET_2_0"]),
            "parquet.enable.dictionary": self.pick(["true", "true", "false"]),
            "parquet.page.write-checksum.enabled": self.pick(["true", "false"]),
            "parquet.block.size": self.pick(["4096", "134217728"]),
            "parquet.bloom.filter.enabled": self.pick(["true", "false"]), "parquet.bloom.filter.max.bytes": "1024",
        }
        conf = {"spark.sql.parquet.outputTimestampType": self.pick(["INT96", "TIMESTAMP_MICROS"])}
        for name, table in [(f"table/part-{i}", t) for i, t in enumerate(old)] + [("source/s0", self.source)]:
            raw = self.dir / "raw" / (name.replace("/", "-") + ".parquet")
            pq.write_table(table, raw)
            tasks.append({
                "task": "copy", "name": f"{self.dir.name}/{name}", "in": str(raw),
                "out": str(self.dir / (name + ".parquet")), "options": options, "conf": conf})
        self.args += ["--from", "source"]

    def style(self, writer, schema):
        """How a writer writes: the same for all files of a folder."""
        style = self.styles(writer, schema)
        self.codecs.append(style.get("compression", style.get("COMPRESSION")))
        return style

    def styles(self, writer, schema):
        rows = self.pick([50, 333, 1000, 1_000_000])
        if writer == "duckdb":
            style = {"COMPRESSION": self.pick(["snappy", "zstd", "gzip", "uncompressed", "lz4_raw", "brotli"]),
                     "ROW_GROUP_SIZE": max(rows, 2048), "PARQUET_VERSION": self.pick(["v1", "v2"])}
            self.spark_knows = self.spark_knows and style["PARQUET_VERSION"] == "v1"  # 2 has BYTE_STREAM_SPLIT
            return style
        if writer == "polars":
            return {"compression": self.pick(["snappy", "zstd", "gzip", "uncompressed", "lz4"]), "row_group_size": rows,
                    "statistics": self.pick(["full", True, False]), "data_page_size": self.pick([1000, 1 << 20])}
        dictionary = self.pick([True, True, False])
        style = {
            "compression": self.pick(["snappy", "snappy", "zstd", "gzip", "none", "lz4", "brotli"]),
            "row_group_size": rows, "data_page_version": self.pick(["1.0", "2.0"]), "use_dictionary": dictionary,
            "data_page_size": self.pick([300, 5000, 1 << 20]), "dictionary_pagesize_limit": self.pick([200, 1 << 20]),
            "write_statistics": self.pick([True, True, True, False]), "write_page_index": self.chance(0.5),
            "write_page_checksum": self.chance(0.5), "write_batch_size": self.pick([64, 1024]),
            "store_decimal_as_integer": self.chance(0.5), "store_schema": self.chance(0.8),
        }
        if style["data_page_version"] == "2.0" and "bool" in self.payload_kinds:
            self.spark_knows = False  # parquet-mr reads past the end of some of pyarrow's RLE booleans
        if self.chance(0.4):
            style["bloom_filter_options"] = {f.name: {"ndv": self.pick([10, 1000]), "fpp": 0.01} for f in schema if self.filterable(f.type)}
        if not dictionary and self.chance(0.5):
            style["column_encoding"] = {f.name: e for f in schema if (e := self.encoding(f.type))}
            self.spark_knows = self.spark_knows and "BYTE_STREAM_SPLIT" not in style["column_encoding"].values()
        return style

    def filterable(self, t):
        while pa.types.is_dictionary(t):
            t = t.value_type
        return not pa.types.is_nested(t) and not pa.types.is_boolean(t) and self.chance(0.6)

    def encoding(self, t):
        if pa.types.is_integer(t) or pa.types.is_timestamp(t) or pa.types.is_date(t):
            return self.pick(["DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "PLAIN"])
        if pa.types.is_floating(t):
            return self.pick(["BYTE_STREAM_SPLIT", "PLAIN"])
        if pa.types.is_string(t) or pa.types.is_binary(t):
            return self.pick(["DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "PLAIN"])
        return None


def write_parquet(writer, table, path, style):
    if writer == "pyarrow":
        pq.write_table(table, path, **style)
    elif writer == "polars":
        pl.from_arrow(table).write_parquet(path, **style)
    else:
        options = ", ".join(f"{k} {v}" for k, v in style.items())
        DUCKDB.register("rows_in", table)
        DUCKDB.execute(f"COPY rows_in TO '{path}' (FORMAT parquet, {options})")
        DUCKDB.unregister("rows_in")


DUCKDB = duckdb.connect()
DUCKDB.execute("SET TimeZone = 'UTC'; SET threads = 1")


def write_text(kind, table, path):
    rows = table.to_pylist()
    with open(path, "w", encoding="utf-8", newline="") as f:
        if kind == "csv":
            f.write(",".join(table.column_names) + "\n")
            for r in rows:
                f.write(",".join(csv_value(v) for v in r.values()) + "\n")
        else:
            for r in rows:
                f.write(json.dumps({k: json_value(v) for k, v in r.items()}, ensure_ascii=False) + "\n")


def csv_value(v):
    if v is None:
        return ""
    if isinstance(v, str):
        return '"' + v.replace('"', '""') + '"'
    return str(json_value(v)).lower() if isinstance(v, bool) else str(json_value(v))


def json_value(v):
    if isinstance(v, datetime.datetime):
        return v.isoformat().replace("+00:00", "Z")
    if isinstance(v, decimal.Decimal):
        return format(v, "f")
    return v.isoformat() if isinstance(v, (datetime.date, datetime.time)) else v


def make(directory, count, seed, spark_count):
    tasks = []
    for i in range(count):
        case = Case(directory / f"case-{i:05d}", np.random.default_rng([seed, i]), i < spark_count)
        case.choose_schema()
        case.make_rows()
        if case.chance(0.12):
            case.replace_all()
        else:
            case.choose_mode()
            case.restyle_source()
        case.write(tasks)
    with open(directory / "spark-write.json", "w", encoding="utf-8") as f:
        f.writelines(json.dumps(t) + "\n" for t in tasks)


def link(directory):
    for case in sorted(directory.glob("case-*")):
        if not (case / "old").exists():
            shutil.copytree(case / "table", case / "old")


def main():
    if sys.argv[1] == "link":
        return link(pathlib.Path(sys.argv[2]))
    directory = pathlib.Path(sys.argv[1])
    os.makedirs(directory, exist_ok=True)
    make(directory, int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0)


if __name__ == "__main__":
    main()
