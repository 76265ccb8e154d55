"""Merges every file of the parquet-testing corpus, and holds what comes out against what pyarrow and DuckDB read before.

    python corpus.py HUPSERT CORPUS DIR

Each file is an old partition that takes a change, the source of a new table, and the source of a replace. An engine reads
files before and after, each compared with itself, floats by their bits. Where the command refuses, it must say so with exit
code 2 or 3, name the file, and leave the table's folder as it was to the byte. Prints a line of JSON per file: what became of
it, the engines that looked, and faults. DIR gets the tables.

A change updates one or two keys to the values of other rows, deletes the last one and inserts one. The key is the first columns
that tell rows apart, else one that stands twice; a file without a column that may be a key is appended to.
"""

import collections
import concurrent.futures
import datetime
import decimal
import itertools
import json
import multiprocessing
import pathlib
import re
import shutil
import subprocess
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ABOUT = {
    "bad_data/ARROW-GH-41317.parquet": "columns of different lengths",
    "bad_data/ARROW-GH-41321.parquet": "fewer levels than the page header says",
    "bad_data/ARROW-GH-43605.parquet": "dictionary indices of 0 bits, which is legal",
    "bad_data/ARROW-GH-45185.parquet": "repetition levels begin inside a record",
    "bad_data/ARROW-GH-47662.parquet": "NULL in a required column",
    "bad_data/ARROW-RS-GH-6229-DICTHEADER.parquet": "a dictionary of a negative number of values",
    "bad_data/ARROW-RS-GH-6229-LEVELS.parquet": "too few repetition levels",
    "bad_data/PARQUET-1481.parquet": "a type in the schema that does not exist",
    "data/alltypes_dictionary.parquet": "Impala: all its types, INT96, dictionaries",
    "data/alltypes_plain.parquet": "Impala: all its types, INT96",
    "data/alltypes_plain.snappy.parquet": "Impala: all its types, INT96, snappy",
    "data/alltypes_tiny_pages.parquet": "Impala: tiny pages, page index, INT96",
    "data/alltypes_tiny_pages_plain.parquet": "Impala: tiny PLAIN pages, page index, INT96",
    "data/binary.parquet": "BYTE_ARRAY of any bytes",
    "data/binary_truncated_min_max.parquet": "bounds cut off, some exact",
    "data/byte_array_decimal.parquet": "decimal on BYTE_ARRAY",
    "data/byte_stream_split.zstd.parquet": "BYTE_STREAM_SPLIT of FLOAT and DOUBLE, zstd",
    "data/byte_stream_split_extended.gzip.parquet": "BYTE_STREAM_SPLIT of seven types, gzip",
    "data/column_chunk_key_value_metadata.parquet": "metadata at a column chunk, no rows",
    "data/concatenated_gzip_members.parquet": "a page of two gzip members, UINT64",
    "data/data_index_bloom_encoding_stats.parquet": "bloom filter, page index, encoding stats",
    "data/data_index_bloom_encoding_with_length.parquet": "bloom filter with its length",
    "data/datapage_v1-corrupt-checksum.parquet": "wrong page checksums",
    "data/datapage_v1-snappy-compressed-checksum.parquet": "page checksums, snappy",
    "data/datapage_v1-uncompressed-checksum.parquet": "page checksums",
    "data/datapage_v2.snappy.parquet": "data pages V2, lists",
    "data/datapage_v2_empty_datapage.snappy.parquet": "a data page V2 without values",
    "data/delta_binary_packed.parquet": "DELTA_BINARY_PACKED of every width",
    "data/delta_byte_array.parquet": "DELTA_BYTE_ARRAY, NULLs",
    "data/delta_encoding_optional_column.parquet": "all DELTA encodings, optional columns",
    "data/delta_encoding_required_column.parquet": "all DELTA encodings, required columns",
    "data/delta_length_byte_array.parquet": "DELTA_LENGTH_BYTE_ARRAY, zstd",
    "data/dict-page-offset-zero.parquet": "dictionary_page_offset of 0, no dictionary",
    "data/fixed_length_byte_array.parquet": "FIXED_LEN_BYTE_ARRAY with page index",
    "data/fixed_length_decimal.parquet": "decimal on FIXED_LEN_BYTE_ARRAY",
    "data/fixed_length_decimal_legacy.parquet": "decimal on more bytes than it needs",
    "data/float16_nonzeros_and_nans.parquet": "FLOAT16, NaN, zeros",
    "data/float16_zeros_and_nans.parquet": "FLOAT16, bounds of zero",
    "data/floating_orders_nan_count.parquet": "floats in IEEE 754 order, nan_count, signed NaNs",
    "data/geospatial/crs-arbitrary-value.parquet": "GEOMETRY, a coordinate system in words",
    "data/geospatial/crs-default.parquet": "GEOMETRY, the default coordinate system",
    "data/geospatial/crs-geography.parquet": "GEOGRAPHY, a coordinate system",
    "data/geospatial/crs-projjson.parquet": "GEOMETRY, a coordinate system in file metadata",
    "data/geospatial/crs-srid.parquet": "GEOMETRY, a coordinate system by number",
    "data/geospatial/geography-lines.parquet": "GEOGRAPHY, lines",
    "data/geospatial/geography-points.parquet": "GEOGRAPHY, points",
    "data/geospatial/geography-polygons.parquet": "GEOGRAPHY, polygons",
    "data/geospatial/geospatial-with-nan.parquet": "GEOMETRY, NaN coordinates",
    "data/geospatial/geospatial.parquet": "GEOMETRY, all shapes and dimensions",
    "data/hadoop_lz4_compressed.parquet": "LZ4 in Hadoop's framing",
    "data/hadoop_lz4_compressed_larger.parquet": "LZ4 in Hadoop's framing, several blocks",
    "data/incorrect_map_schema.parquet": "Trino: optional map keys",
    "data/int32_decimal.parquet": "decimal on INT32",
    "data/int32_with_null_pages.parquet": "page index with pages of NULL",
    "data/int64_decimal.parquet": "decimal on INT64",
    "data/int96_from_spark.parquet": "INT96 of the years 1 to 290,000",
    "data/large_string_map.brotli.parquet": "a page of 1 GiB that is 1.6 KB, brotli",
    "data/list_columns.parquet": "lists, NULL and empty",
    "data/lz4_raw_compressed.parquet": "LZ4_RAW",
    "data/lz4_raw_compressed_larger.parquet": "LZ4_RAW, a large page",
    "data/map_no_value.parquet": "a map without values",
    "data/nan_in_stats.parquet": "NaN as a bound",
    "data/nation.dict-malformed.parquet": "dictionary pages not told in the footer",
    "data/nested_lists.snappy.parquet": "lists of lists of lists",
    "data/nested_maps.snappy.parquet": "maps of maps",
    "data/nested_structs.rust.parquet": "structs of structs",
    "data/non_hadoop_lz4_compressed.parquet": "LZ4 as one raw block",
    "data/nonnullable.impala.parquet": "Impala: nested types, required",
    "data/null_list.parquet": "a list of the null type",
    "data/nullable.impala.parquet": "Impala: nested types, NULL everywhere",
    "data/nulls.snappy.parquet": "a struct of NULLs",
    "data/old_list_structure.parquet": "lists of two levels, in one another",
    "data/overflow_i16_page_cnt.parquet": "more than 32,767 pages",
    "data/page_v2_empty_compressed.parquet": "data pages V2 of NULL, compressed to nothing",
    "data/plain-dict-uncompressed-checksum.parquet": "page checksums, PLAIN_DICTIONARY",
    "data/repeated_no_annotation.parquet": "repeated group without LIST",
    "data/repeated_primitive_no_list.parquet": "repeated columns without LIST",
    "data/rle-dict-snappy-checksum.parquet": "page checksums, RLE_DICTIONARY, snappy",
    "data/rle-dict-uncompressed-corrupt-checksum.parquet": "wrong checksum of a dictionary",
    "data/rle_boolean_encoding.parquet": "booleans by RLE",
    "data/single_nan.parquet": "only a NaN",
    "data/sort_columns.parquet": "sorting columns, several row groups",
    "data/unknown-logical-type.parquet": "a logical type that is not known yet",
}
ENCRYPTED = "encrypted"  # those that end in .encrypted

# Spark's INT96 of the year 290,000 has a day that it counts modulo 2^64 microseconds. Others read it as two other times; the
# file's description has the right one.
MISREAD = {-7188624036226874385: 9089380393200000000, -7207070780300583936: 9089380393200000000}

OP = "op__"  # the source's column that tells deletes
MOST_BYTES = 1 << 29  # files of more, decoded, are given to the command only
SECONDS = 60

NANOS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


# -- what engines read ------------------------------------------------------------------------------------------------------


def plain(array):
    """Values that compare as they are stored: floats as bits, times in nanoseconds, text as bytes."""
    t = array.type
    if isinstance(array, pa.ExtensionArray):
        return plain(array.storage)
    if pa.types.is_dictionary(t):
        return plain(array.dictionary_decode())
    if pa.types.is_floating(t):
        return array.view(f"int{t.bit_width}").to_pylist()
    if pa.types.is_timestamp(t) or pa.types.is_time(t) or pa.types.is_duration(t):
        unit = NANOS[t.unit]
        return [None if v is None else v * unit for v in array.view(f"int{t.bit_width}").to_pylist()]
    if pa.types.is_date(t):
        return array.view(f"int{t.bit_width}").to_pylist()
    if pa.types.is_struct(t):
        there = array.is_valid().to_pylist()
        fields = [plain(f) for f in array.flatten()]
        rows = zip(*fields) if fields else [()] * len(array)
        return [row if ok else None for ok, row in zip(there, rows)]
    if pa.types.is_map(t):
        return entries(array, list(zip(plain(array.keys), plain(array.items))))
    if pa.types.is_fixed_size_list(t):
        there, values, size = array.is_valid().to_pylist(), plain(array.values), t.list_size
        return [tuple(values[(array.offset + i) * size : (array.offset + i + 1) * size]) if ok else None for i, ok in enumerate(there)]
    if pa.types.is_list(t) or pa.types.is_large_list(t):
        return entries(array, plain(array.values))
    return [v.encode() if isinstance(v, str) else v for v in array.to_pylist()]


def entries(array, values):
    there, at = array.is_valid().to_pylist(), array.offsets.to_pylist()
    return [tuple(values[at[i]:at[i + 1]]) if ok else None for i, ok in enumerate(there)]


def rows(table, names=None):
    columns = []
    for name in names or range(table.num_columns):
        column = table.column(name)
        columns.append([v for chunk in column.chunks for v in plain(chunk)])
    return list(zip(*columns)) if columns else [()] * table.num_rows


def pyarrow_reads(path):
    # INT96 in nanoseconds would wrap around in the years that Spark writes.
    return pq.ParquetFile(path, arrow_extensions_enabled=False, coerce_int96_timestamp_unit="us").read(use_threads=False)


def duckdb_reads(path):
    db = duckdb.connect(config={"threads": 1})
    db.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = true")
    name = str(path).replace("'", "''")
    return db.sql(f"SELECT * FROM read_parquet('{name}', hive_partitioning = false)").to_arrow_table()


def mend(table):
    """Puts times right that engines misread."""
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "us":
            counts = [c for chunk in table.column(i).chunks for c in chunk.view(pa.int64()).to_pylist()]
            if any(c in MISREAD for c in counts):
                table = table.set_column(i, field, pa.array([MISREAD.get(c, c) for c in counts], pa.int64()).cast(field.type))
    return table


ENGINES = {"pyarrow": pyarrow_reads, "DuckDB": duckdb_reads}


def read(engine, paths):
    tables = [mend(ENGINES[engine](p)) for p in paths]
    names = tables[0].column_names
    out = []
    for t in tables:
        # A name that stands twice is found by its place.
        out += rows(t, names if len(set(names)) == len(names) else None)
    return names, out


# -- a change ---------------------------------------------------------------------------------------------------------------


def keyed(t):
    return (pa.types.is_integer(t) or pa.types.is_string(t) or pa.types.is_binary(t) or pa.types.is_date(t)
            or pa.types.is_timestamp(t) or pa.types.is_decimal(t) or pa.types.is_boolean(t) or pa.types.is_fixed_size_binary(t))


def key_values(table, names):
    """Values as keys compare: one NaN, one zero."""
    columns = []
    for name in names:
        column = table.select([name])
        if pa.types.is_floating(column.schema.field(0).type):
            columns.append(["NaN" if v != v else v for v in column[0].to_pylist()])
        else:
            columns.append([v for v, in rows(column)])
    return list(zip(*columns))


def find_key(table):
    """The first columns that tell rows apart, and the options they need; floats and NULL where nothing else does."""
    single = [f for f in table.schema if "," not in f.name and table.column_names.count(f.name) == 1]
    usual = [f.name for f in single if keyed(f.type) and table[f.name].null_count == 0]
    unusual = [f.name for f in single if keyed(f.type) or pa.types.is_floating(f.type)]
    for names in (usual, unusual):
        for n in (1, 2, 3):
            for key in itertools.combinations(names, n):
                found = key_values(table, key)
                if found and len(set(found)) == len(found):
                    nullable = any(table[k].null_count for k in key)
                    floats = any(pa.types.is_floating(table.schema.field(k).type) for k in key)
                    return list(key), nullable * ["--null-keys", "match"] + floats * ["--allow-float-keys"]
    if usual and len(table) > 0:
        return usual[:1], ["--old-duplicates", "update-all"]
    return None, []


def fresh(column):
    """A value that the column lacks, None where its type has no more."""
    t = column.type
    if pa.types.is_timestamp(t):
        have = {v for chunk in column.chunks for v in plain(chunk)}
        day = next(d for d in range(22280, 2**15) if d * 86400 * 10**9 not in have)
        return pa.array([day * 86400 * (10**9 // NANOS[t.unit])], pa.int64()).cast(t)
    have = set(column.to_pylist())
    if pa.types.is_integer(t):
        room = 2 ** (t.bit_width - (0 if pa.types.is_unsigned_integer(t) else 1))
        tries = range(room - 1, -1, -1)
    elif pa.types.is_string(t):
        tries = ["new", "newer"]
    elif pa.types.is_fixed_size_binary(t):
        tries = [bytes([b]) * t.byte_width for b in range(255)]
    elif pa.types.is_binary(t):
        tries = [b"new", b"newer"]
    elif pa.types.is_date(t):
        tries = [datetime.date(2031, 1, d) for d in range(1, 29)]
    elif pa.types.is_decimal(t):
        tries = [decimal.Decimal(d).scaleb(-t.scale) for d in range(10 ** min(t.precision, 4))]
    elif pa.types.is_float32(t) or pa.types.is_float64(t):  # FLOAT16 has other bits in DuckDB, which widens it
        tries = [v / 2 for v in range(100)]
    else:
        return None
    value = next((v for v in tries if v not in have), None)
    return None if value is None else pa.array([value], pa.float64() if pa.types.is_floating(t) else t).cast(t)


def change(table, key):
    """Makes a source of a table: with it, the old row whose values each of its rows has besides the key, and which of its rows
    the old rows meet."""
    found = key_values(table, key)
    n = len(found)
    updates = dict.fromkeys([found[0], found[n // 2]] if n > 3 else [found[0]])
    deletes = dict.fromkeys(k for k in [found[n - 1]] if k not in updates)
    touched = [found.index(k) for k in [*updates, *deletes]]
    meets = {i: (list(updates) + list(deletes)).index(k) for i, k in enumerate(found) if k in updates or k in deletes}
    keys = table.select(key).take(pa.array(touched, pa.int64()))
    values = [(i + 1) % n for i in touched]
    ops = ["U"] * len(updates) + ["D"] * len(deletes)
    new = fresh(table[key[-1]])
    if new is not None:
        row = table.select(key).slice(0, 1)
        row = row.set_column(len(key) - 1, row.schema.field(len(key) - 1), pa.chunked_array([new]))
        keys = pa.concat_tables([keys, row])
        values.append(n // 3)
        ops.append("I")
    source = table.take(pa.array(values, pa.int64()))
    for name in key:
        source = source.set_column(source.column_names.index(name), source.schema.field(name), keys[name])
    return source.append_column(OP, pa.array(ops)), values, meets


def expect(names, old, key, source, values, meets):
    """What an engine must read after the change, of the rows it read before."""
    at = [names.index(k) for k in key]
    keys, ops = rows(source, key), source[OP].to_pylist()

    def changed(s, own):
        row = list(old[values[s]])
        for place, v in zip(at, own):
            row[place] = v
        return tuple(row)

    want = [row if i not in meets else changed(meets[i], [row[place] for place in at])
            for i, row in enumerate(old) if i not in meets or ops[meets[i]] != "D"]
    return want + [changed(s, keys[s]) for s, op in enumerate(ops) if op == "I"]


def nulls(schema):
    """A row of nothing, where the schema allows it."""
    if any(not f.nullable for f in schema):
        return None
    return pa.table([pa.nulls(1, f.type) for f in schema], schema=schema)


# -- one file ---------------------------------------------------------------------------------------------------------------


class File:
    def __init__(self, hupsert, path, name, folder):
        self.hupsert, self.name, self.folder = hupsert, name, folder
        self.faults, self.refusals, self.tables, self.looked = [], [], {}, []
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # The name says what it is of; the tool takes files of a table by their ending.
        self.path = folder / (path.name if path.name.endswith(".parquet") else path.name + ".parquet")
        shutil.copy(path, self.path)
        self.path.chmod(0o644)

    def read(self):
        self.schema = None
        try:
            about = pq.ParquetFile(self.path)
            self.schema = about.schema_arrow
            m = about.metadata
            if sum(m.row_group(i).total_byte_size for i in range(m.num_row_groups)) > MOST_BYTES:
                return
        except Exception:  # engines say in many ways that they cannot read
            pass
        for engine in ENGINES:
            try:
                self.tables[engine] = mend(ENGINES[engine](self.path))
                self.looked.append(engine)
            except Exception:
                pass

    def run(self, table, *args):
        """The command's outcome; None after a refusal that was as it should be."""
        before = content(table)
        command = [self.hupsert, "upsert", str(table), "--no-progress", *args]
        try:
            p = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.fault("took more than %d s: %s", SECONDS, args)
            return None
        if re.search(r"panic|goroutine", p.stderr) or p.returncode not in (0, 2, 3):
            self.fault("exit code %d: %s", p.returncode, p.stderr[:400])
            return None
        if p.returncode == 0:
            return p.stdout
        if content(table) != before:
            self.fault("refused, but the table is changed: %s", p.stderr[:400])
        if self.path.name not in p.stderr and "change.parquet" not in p.stderr:
            self.fault("the refusal names no file: %s", p.stderr[:400])
        return self.refuse(p.stderr)

    def refuse(self, text):
        """Notes the reason without the place, which the command says too."""
        text = text.strip().split("\n")[0].removeprefix("error: ")
        text = re.sub("^.*(" + re.escape(self.path.name) + "|change.parquet):? ?", "", text)
        text = re.sub(r"^row \d+: |(row group \d+|column \[.*?\]|page at offset \d+|dictionary)(, |: )", "", text)
        text = text.replace(" Parquet file:", ":").replace(" Parquet feature:", ":")
        if text not in self.refusals:
            self.refusals.append(text)

    def fault(self, text, *args):
        self.faults.append(self.name + ": " + (text % args if args else text))

    def compare(self, what, folder, want):
        """Holds a table's rows against what each engine must read, by engine."""
        files = sorted(folder.glob("*.parquet"))
        if not files and not any(want.values()):
            return  # a table without rows
        for engine, expected in want.items():
            try:
                _, got = read(engine, files)
            except Exception as e:
                self.fault("%s: %s can't read what came out: %s", what, engine, str(e)[:200])
                continue
            a, b = collections.Counter(got), collections.Counter(expected)
            if a != b:
                self.fault("%s: %s reads %s too many, %s too few", what, engine, str(list((a - b).elements())[:2])[:300],
                           str(list((b - a).elements())[:2])[:300])

    def old(self):
        """The file is a partition and takes a change."""
        table = self.folder / "old"
        table.mkdir()
        shutil.copy(self.path, table)
        source = self.folder / "change.parquet"
        args = ["--from", str(source)]
        read_by = {e: rows(t) for e, t in self.tables.items()}
        first = next(iter(self.tables.values()), None)
        key, options = find_key(first) if first is not None else (None, [])
        if key:
            taken, values, meets = change(first, key)
            pq.write_table(taken, source)
            args += ["--key", ",".join(key), "--delete-when", OP + "=D", *options]
            want = {e: expect(t.column_names, read_by[e], key, taken, values, meets) for e, t in self.tables.items()}
            done = "changed"
        elif first is not None and len(first) > 0:
            pq.write_table(first.slice(0, 2), source)
            args += ["--mode", "append"]
            want = {e: r + r[:2] for e, r in read_by.items()}
            done = "appended"
        else:
            row = nulls(self.schema) if self.schema is not None else None
            if row is not None:
                pq.write_table(row, source)
            else:
                args = ["--from", str(self.path)]
            args += ["--mode", "append"]
            want = {e: r + [(None,) * len(self.tables[e].schema)] for e, r in read_by.items()} if row is not None else {}
            done = "appended"
        if self.run(table, *args) is None:
            return "refused"
        self.compare("as old partition", table, want)
        return done

    def source(self):
        """The file makes a table, and replaces one."""
        want = {e: rows(t) for e, t in self.tables.items()}
        first = next(iter(self.tables.values()), None)
        outcomes = []
        made = self.folder / "made"
        outcomes.append("refused" if self.run(made, "--create", "--partition-by", "", "--mode", "append", "--from", str(self.path)) is None
                        else "taken")
        if outcomes[-1] == "taken":
            self.compare("as source of a new table", made, want)
        replaced = self.folder / "replaced"
        replaced.mkdir()
        if first is not None and len(first) > 0:
            pq.write_table(first.slice(0, 2), replaced / "had.parquet")
        else:
            shutil.copy(self.path, replaced)
        outcomes.append("refused" if self.run(replaced, "--mode", "replace", "--allow-empty", "--max-delete-ratio", "1", "--from", str(self.path)) is None
                        else "taken")
        if outcomes[-1] == "taken":
            self.compare("as source of a replace", replaced, want)
        return outcomes[0] if outcomes[0] == outcomes[1] else f"create {outcomes[0]}, replace {outcomes[1]}"


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def one(hupsert, path, name, folder):
    f = File(hupsert, path, name, folder)
    f.read()
    as_old = f.old()
    as_source = f.source()
    about = ENCRYPTED if name.endswith(".encrypted") else ABOUT.get(name, "")
    return {"file": name, "about": about, "old": as_old, "source": as_source, "engines": f.looked, "refusals": f.refusals, "faults": f.faults}


def main():
    hupsert, corpus, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    paths = sorted(p for p in corpus.rglob("*.parquet*") if p.suffix in (".parquet", ".encrypted"))
    # Spawned: DuckDB and pyarrow have threads, which a fork does not take along.
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        tasks = {}
        for i, p in enumerate(paths):
            name = str(p.relative_to(corpus))
            tasks[name] = pool.submit(one, hupsert, p, name, folder / str(i))  # no file's name, which errors must say
        for name, task in tasks.items():
            try:
                print(json.dumps(task.result()), flush=True)
            except Exception as e:
                print(json.dumps({"file": name, "faults": [f"{name}: the script failed: {e!r}"]}), flush=True)


if __name__ == "__main__":
    main()
