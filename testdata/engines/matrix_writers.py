"""The writers of matrix.py: what each can write, how it is asked to, and the writing itself.

A column is (name, kind, values, required). pyarrow, DuckDB, Polars and fastparquet write here; for Spark and parquet-go a
task is returned, which the test hands to them.
"""

import json
import os
import struct

import duckdb
import fastparquet
import fastparquet.writer
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import matrix_kinds as mk

INTS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
TIMES = ["time_ms", "time_us", "time_ns"]
STAMPS = ["ts_ms", "ts_us", "ts_ns", "ts_ms_utc", "ts_us_utc", "ts_ns_utc"]
NESTED = ["struct", "nested", "list", "words", "lists", "list_struct", "map"]

# By writer: types, codecs, page versions.
WRITERS = {
    "pyarrow": (
        ["bool", *INTS, "float16", "float", "double", "dec4", "dec9", "dec18", "dec38", "dec76", "string", "large_string",
         "dictionary", "json", "binary", "fixed", "uuid", "date", "date_wild", *TIMES, *STAMPS, "ts_us_wild", "int96", "int96_ns",
         "duration", *NESTED, "vector", "null"],
        ["none", "snappy", "gzip", "zstd", "brotli", "lz4"], [1, 2]),
    "duckdb": (
        ["bool", *INTS, "float", "double", "dec4", "dec9", "dec18", "dec38", "string", "categories", "json", "binary", "uuid",
         "date", "time_us", "ts_ms", "ts_us", "ts_ns", "ts_us_utc", "interval", *NESTED],
        ["uncompressed", "snappy", "gzip", "zstd", "brotli", "lz4_raw"], [1, 2]),
    "polars": (
        ["bool", *INTS, "float", "double", "dec9", "dec18", "dec38", "string", "categories", "binary", "date", "time_ns",
         *STAMPS, "struct", "nested", "list", "words", "lists", "list_struct", "vector", "null"],
        ["uncompressed", "snappy", "gzip", "zstd", "brotli", "lz4"], [1]),
    "fastparquet": (
        ["bool", *INTS, "float", "double", "string", "categories", "json", "binary", "fixed", "time_us", "ts_ms", "ts_us",
         "ts_ns", "ts_us_utc", "ts_ns_utc", "int96"],
        ["UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD", "BROTLI", "LZ4", "LZ4_RAW"], [1, 2]),
    "spark": (
        ["bool", "int8", "int16", "int32", "int64", "float", "double", "dec4", "dec9", "dec18", "dec38", "string", "binary",
         "date", "ts_ms_utc", "ts_us_utc", "ts_us", *NESTED],
        ["none", "snappy", "gzip", "zstd", "lz4_raw"], [1, 2]),
    "parquet-go": (
        ["bool", *INTS, "float", "double", "dec4", "dec9", "dec18", "dec38", "dec76", "string", "categories", "json", "binary",
         "fixed", "uuid", "date", *TIMES, *STAMPS, "int96", "int96_ns", "interval", *NESTED, "repeated"],
        ["none", "snappy", "gzip", "zstd", "brotli", "lz4_raw"], [1, 2]),
}

BYTE_ARRAYS = {"string", "large_string", "binary", "json", "categories"}
DELTAS = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "date", "date_wild", "ts_us_wild", *TIMES, *STAMPS}


def pick(rng, options):
    return options[int(rng.integers(len(options)))]


def chance(rng, p):
    return bool(rng.random() < p)


def style(rng, writer, kind, codec, page, rows):
    """How a file is written, all of it JSON: what a combination leaves open is drawn."""
    group = pick(rng, [rows // 3 + 1, rows // 2, rows + 1])
    s = {"writer": writer, "codec": codec, "page": page, "group": group, "dictionary": chance(rng, 0.5)}
    if writer in ("pyarrow", "parquet-go") and not s["dictionary"]:
        if kind in BYTE_ARRAYS:
            s["encoding"] = pick(rng, ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"])
        elif kind in DELTAS:
            # parquet-go splits the bytes of floats only.
            s["encoding"] = pick(rng, ["PLAIN", "DELTA_BINARY_PACKED", *(["BYTE_STREAM_SPLIT"] if writer == "pyarrow" else [])])
        elif kind in ("float", "double") or (kind in ("fixed", "float16", "dec38", "uuid") and writer == "pyarrow"):
            s["encoding"] = pick(rng, ["PLAIN", "BYTE_STREAM_SPLIT"])
        elif kind in ("fixed", "uuid"):
            s["encoding"] = pick(rng, ["PLAIN", "DELTA_BYTE_ARRAY"])
    if writer == "pyarrow":
        s |= {"page_size": pick(rng, [200, 600]), "limit": pick(rng, [200, 1 << 20]), "statistics": chance(rng, 0.8),
              "index": chance(rng, 0.5), "checksum": chance(rng, 0.5), "integers": chance(rng, 0.5), "schema": chance(rng, 0.7),
              "compliant": chance(rng, 0.7)}
        if "BYTE_STREAM_SPLIT" in s.get("encoding", "") and kind in ("dec9", "dec18"):
            del s["encoding"]
    elif writer == "polars":
        s |= {"page_size": pick(rng, [200, 1000]), "statistics": pick(rng, ["full", True, False])}
    elif writer == "duckdb":
        s |= {"limit": pick(rng, [1, 1000])}
    elif writer == "fastparquet":
        s |= {"page_size": pick(rng, [400, 2000]), "statistics": chance(rng, 0.7)}
    elif writer == "spark":
        s |= {"page_rows": pick(rng, [20, 100]), "checksum": chance(rng, 0.5), "legacy": chance(rng, 0.3),
              "calendar": pick(rng, ["CORRECTED", "CORRECTED", "LEGACY"]),
              "stamps": "TIMESTAMP_MILLIS" if kind == "ts_ms_utc" else pick(rng, ["INT96", "TIMESTAMP_MICROS"])}
    elif writer == "parquet-go":
        s |= {"page_size": pick(rng, [200, 800]), "statistics": chance(rng, 0.7), "physical": decimal_type(rng, kind)}
    return s


def decimal_type(rng, kind):
    return pick(rng, {"dec4": ["int32", "int64", "fixed", "bytes"], "dec9": ["int32", "int64", "fixed", "bytes"],
                      "dec18": ["int64", "fixed", "bytes"]}.get(kind, ["fixed", "bytes"]))


def write(columns, path, s):
    """Writes a file, or returns the task for who does."""
    return {"pyarrow": by_pyarrow, "duckdb": by_duckdb, "polars": by_polars, "fastparquet": by_fastparquet, "spark": by_spark,
            "parquet-go": by_parquet_go}[s["writer"]](columns, str(path), s)


def arrow_table(columns):
    arrays = [mk.to_arrow(k, vals) for _, k, vals, _ in columns]
    fields = [pa.field(name, a.type, nullable=not required) for (name, _, _, required), a in zip(columns, arrays)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def by_pyarrow(columns, path, s):
    options = {
        "compression": s["codec"], "row_group_size": s["group"], "data_page_version": f"{s['page']}.0",
        "use_dictionary": s["dictionary"], "data_page_size": s["page_size"], "write_batch_size": 16,
        "dictionary_pagesize_limit": s["limit"], "write_statistics": s["statistics"], "write_page_index": s["index"],
        "write_page_checksum": s["checksum"], "store_decimal_as_integer": s["integers"], "store_schema": s["schema"],
        "use_compliant_nested_type": s["compliant"],
        "use_deprecated_int96_timestamps": any(k.name.startswith("int96") for _, k, _, _ in columns),
    }
    if "encoding" in s:
        options["column_encoding"] = {"t": s["encoding"]}
    pq.write_table(arrow_table(columns), path, **options)


DUCKDB = duckdb.connect()
DUCKDB.execute("SET TimeZone = 'UTC'; SET threads = 1")
DUCKDB_CASTS = {"json": "t::JSON", "categories": "t::ENUM('', 'a', 'résumé', '한국어')"}


def by_duckdb(columns, path, s):
    select = ", ".join(f"{DUCKDB_CASTS.get(k.name, name)} AS {name}" if name == "t" else name for name, k, _, _ in columns)
    DUCKDB.register("rows_in", arrow_table(columns))
    limit = f", DICTIONARY_SIZE_LIMIT {s['limit']}" if not s["dictionary"] else ""
    DUCKDB.execute(f"COPY (SELECT {select} FROM rows_in) TO '{path}' (FORMAT parquet, COMPRESSION {s['codec']}, "
                   f"ROW_GROUP_SIZE {max(2048, s['group'])}, PARQUET_VERSION v{s['page']}{limit})")
    DUCKDB.unregister("rows_in")


def by_polars(columns, path, s):
    frame = pl.from_arrow(arrow_table(columns))
    if any(k.name == "categories" for _, k, _, _ in columns):
        frame = frame.with_columns(pl.col("t").cast(pl.Enum(mk.KINDS["categories"].edges)))
    frame.write_parquet(path, compression=s["codec"], row_group_size=s["group"], data_page_size=s["page_size"],
                        statistics=s["statistics"])


def by_fastparquet(columns, path, s):
    data, encodings, fixed, times = {}, {}, {}, "int64"
    for name, k, vals, _ in columns:
        data[name] = series(k, vals)
        if data[name].dtype == object:
            encodings[name] = {"bool": "bool", "json": "json", "binary": "bytes", "fixed": "bytes"}.get(k.name, "utf8")
        if k.name == "fixed":
            fixed[name] = 6
        if k.name == "int96":
            times = "int96"
    frame = pd.DataFrame(data)
    fastparquet.writer.DATAPAGE_VERSION = s["page"]
    fastparquet.writer.MAX_PAGE_SIZE = s["page_size"]
    fastparquet.write(path, frame, row_group_offsets=s["group"], compression=s["codec"], object_encoding=encodings or "infer",
                      fixed_text=fixed or None, times=times, write_index=False, stats=s["statistics"])


def series(k, vals):
    nulls = any(v is None for v in vals)
    name = k.name
    if name in INTS:
        return pd.Series(vals, dtype=name.replace("uint", "UInt").replace("int", "Int") if nulls and name[0] == "i" else
                         name.replace("uint", "UInt") if nulls else name)
    if name in ("float", "double"):
        return pd.Series([mk.native(v) for v in vals], dtype="float32" if name == "float" else "float64")
    if name == "bool":
        return pd.Series(vals, dtype="boolean" if nulls else "bool")
    if name.startswith("ts_") or name == "int96":
        unit = "ns" if name == "int96" else name.split("_")[1]
        raw = np.array([np.iinfo("int64").min if v is None else v // mk.NANOS[unit] for v in vals], dtype="int64")
        out = pd.Series(raw.view(f"datetime64[{unit}]"))
        return out.dt.tz_localize("UTC") if name.endswith("utc") else out
    if name == "time_us":
        raw = np.array([np.iinfo("int64").min if v is None else v // 1000 for v in vals], dtype="int64")
        return pd.Series(raw.view("timedelta64[us]"))
    if name == "categories":
        return pd.Series(pd.Categorical(vals, categories=k.edges))
    if name == "json":
        vals = [None if v is None else json.loads(v) for v in vals]
    return pd.Series(np.array([None, *vals], dtype=object)[1:], dtype=object)


def by_spark(columns, path, s):
    raw = os.path.splitext(path)[0] + ".raw"
    # Neither the names of Arrow's schema nor required columns: Spark's own writer drops both.
    pq.write_table(arrow_table([(n, k, v, False) for n, k, v, _ in columns]), raw, store_schema=False)
    return {
        "task": "write", "name": path, "in": raw, "out": path,
        "options": {
            "compression": s["codec"], "parquet.page.row.count.limit": str(s["page_rows"]),
            "parquet.writer.version": f"PARQUET_{s['page']}_0", "parquet.enable.dictionary": str(s["dictionary"]).lower(),
            "parquet.page.write-checksum.enabled": str(s["checksum"]).lower(),
            # A row group ends where its size is looked at and found too large.
            "parquet.block.size": "1" if s["group"] < len(columns[0][2]) else "134217728",
            "parquet.page.size.row.check.min": "100", "parquet.block.size.row.check.min": "100",
            "parquet.block.size.row.check.max": "100",
        },
        "conf": {
            "spark.sql.parquet.outputTimestampType": s["stamps"], "spark.sql.parquet.writeLegacyFormat": str(s["legacy"]).lower(),
            "spark.sql.parquet.datetimeRebaseModeInWrite": s["calendar"], "spark.sql.parquet.int96RebaseModeInWrite": s["calendar"],
        },
    }


# -- parquet-go ------------------------------------------------------------------------------------------------------------


def by_parquet_go(columns, path, s):
    """A task with the values as parquet-go holds them: PLAIN bytes, in hexadecimal."""
    fields, data = [], []
    for name, k, vals, required in columns:
        field = go_field(k, s.get("physical"))
        field |= {"name": name, "required": required}
        if name == "t" and "encoding" in s:
            field["encoding"] = s["encoding"]
        fields.append(field)
        data.append([go_value(k, field, v) for v in vals])
    return {"out": path, "codec": s["codec"], "page": s["page"], "pageSize": s["page_size"], "group": s["group"],
            "dictionary": s["dictionary"], "statistics": s["statistics"], "fields": fields, "columns": data}


def go_leaf(t):
    """The field of an element of something nested."""
    if pa.types.is_decimal(t):
        return {"type": "decimal", "precision": t.precision, "scale": t.scale, "physical": "int64"}
    return {"type": {pa.int32(): "int32", pa.int64(): "int64", pa.string(): "string"}[t]}


def go_nested(t):
    if pa.types.is_struct(t):
        return {"type": "struct", "fields": [go_nested(f.type) | {"name": f.name} for f in t]}
    if pa.types.is_map(t):
        return {"type": "map", "fields": [go_nested(t.key_type) | {"required": True}, go_nested(t.item_type)]}
    if pa.types.is_list(t):
        return {"type": "list", "fields": [go_nested(t.value_type)]}
    return go_leaf(t)


def go_field(k, physical):
    if k.name == "repeated":
        return {"type": "repeated", "fields": [go_leaf(pa.int32())]}
    if pa.types.is_nested(k.arrow):
        return go_nested(k.arrow)
    if pa.types.is_decimal(k.arrow):
        return {"type": "decimal", "precision": k.arrow.precision, "scale": k.arrow.scale, "physical": physical,
                "width": (int(10**k.arrow.precision).bit_length() + 8) // 8}
    return {"type": k.name}


def go_value(k, field, v):
    if v is None:
        return None
    kind = field["type"]
    if kind in ("struct", "list", "map", "repeated"):
        inner = field["fields"]
        if kind == "struct":
            return [go_value(None, f, x) for f, x in zip(inner, v)]
        if kind == "map":
            return [[go_value(None, f, x) for f, x in zip(inner, pair)] for pair in v]
        return [go_value(None, inner[0], x) for x in v]
    if kind == "decimal":
        return go_decimal(field, v)
    return plain(kind, v).hex()


def go_decimal(field, v):
    n = int(v.scaleb(field["scale"], context=mk.WIDE))
    match field["physical"]:
        case "int32":
            return struct.pack("<i", n).hex()
        case "int64":
            return struct.pack("<q", n).hex()
        case "fixed":
            return n.to_bytes(field["width"], "big", signed=True).hex()
    return n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True).hex()


def plain(kind, v):
    """PLAIN bytes of a value."""
    match kind:
        case "bool":
            return bytes([v])
        case "int8" | "int16" | "int32" | "date":
            return struct.pack("<i", v)
        case "uint8" | "uint16" | "uint32":
            return struct.pack("<I", v)
        case "int64":
            return struct.pack("<q", v)
        case "uint64":
            return struct.pack("<Q", v)
        case "float":
            return struct.pack("<f", mk.native(v))
        case "double":
            return struct.pack("<d", mk.native(v))
        case "time_ms":
            return struct.pack("<i", v // 10**6)
        case "int96" | "int96_ns":
            return struct.pack("<qI", v % mk.DAY, v // mk.DAY + 2440588)
        case "interval":
            return struct.pack("<III", v[0], v[1], v[2] // 10**6)
    if kind.startswith(("time_", "ts_")):
        return struct.pack("<q", v // mk.NANOS[kind.split("_")[1]])
    return v.encode() if isinstance(v, str) else v
