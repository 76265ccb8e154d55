"""Reads the files of a folder by every engine there is and compares them with the rows beside them.

Each X.parquet has an X.json: per column the rows as null, text or a list. Run by TestOtherEngines.
"""

import datetime
import decimal
import glob
import json
import os
import struct
import sys
import uuid

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

decimal.getcontext().prec = 60
EPOCH = datetime.datetime(1970, 1, 1)


def text(name, v):
    """The text of a value, as the test writes it."""
    if v is None:
        return None
    if isinstance(v, dict):
        return text(name, v["x"])
    if isinstance(v, (list, tuple)) and not isinstance(v, bytes):
        return [text(name, e) for e in v]
    if isinstance(v, bool):
        return str(int(v))
    if isinstance(v, int):
        return str(v)
    if isinstance(v, float):
        if name.startswith("float16"):
            return struct.pack("<e", v).hex()
        return struct.pack("<f" if name.startswith("float") else "<d", v).hex()
    if isinstance(v, decimal.Decimal):
        return str(int(v.scaleb(-v.as_tuple().exponent)))
    if isinstance(v, uuid.UUID):
        return v.bytes.hex()
    if isinstance(v, str):
        return v.encode().hex()
    if isinstance(v, (bytes, bytearray)):
        return bytes(v).hex()
    if isinstance(v, datetime.datetime):
        v = v.replace(tzinfo=None) - EPOCH
        micros = (v.days * 86400 + v.seconds) * 10**6 + v.microseconds
        return str(micros * (1000 if name.startswith("local_nanos") else 1))
    if isinstance(v, datetime.date):
        return str((v - EPOCH.date()).days)
    if isinstance(v, datetime.time):
        return str(((v.hour * 60 + v.minute) * 60 + v.second) * 1000 + v.microsecond // 1000)
    raise TypeError(f"{name}: {type(v)}")


def integers(column):
    """Times as the integers they are stored as."""
    kind = column.type
    if pa.types.is_list(kind):
        kind = kind.value_type
        target = pa.list_(pa.int64() if pa.types.is_timestamp(kind) else pa.int32())
    else:
        target = pa.int64() if pa.types.is_timestamp(kind) else pa.int32()
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_date(kind):
        return column.cast(target)
    return column


def compare(engine, file, name, got, want):
    if got != want:
        at = next((i for i in range(min(len(got), len(want))) if got[i] != want[i]), min(len(got), len(want)))
        raise SystemExit(
            f"{engine} {file}: column {name}: {len(got)} rows, want {len(want)}; row {at} is"
            f" {got[at:at + 1]}, want {want[at:at + 1]}")


def by_pyarrow(file, want):
    table = pq.read_table(file, page_checksum_verification=True)
    for name in want:
        if name.startswith("int96"):
            continue  # the values are no timestamps
        column = table[name]
        if pa.types.is_struct(column.type):
            column = pc.struct_field(column, "x")
        compare("pyarrow", file, name, text(name, integers(column).to_pylist()), want[name])
    meta = pq.ParquetFile(file).metadata
    assert meta.created_by.startswith("hupsert version "), meta.created_by
    for low in (0, table.num_rows // 2, table.num_rows - 1, table.num_rows):
        n = pq.read_table(file, columns=["row"], filters=[("row", ">=", low)]).num_rows
        assert n == table.num_rows - low, (file, low, n)


# DuckDB has no unsigned decimals, its times of day and uuids are checked by text elsewhere.
DUCKDB_SKIPS = ("int96", "decimal_bytes", "local_nanos", "time_", "float16")


def by_duckdb(file, want):
    con = duckdb.connect()
    con.execute("set timezone='UTC'")
    names = [n for n in want if not n.startswith(DUCKDB_SKIPS)]
    columns = ", ".join(f'"{n}"' for n in names)
    # Strings stay bytes where the schema says no more than that.
    rows = con.execute(f"select {columns} from read_parquet('{file}')").fetchall()
    for i, name in enumerate(names):
        got = [text(name, row[i]) for row in rows]
        compare("duckdb", file, name, got, want[name])
    for name in ("int32_1", "string_1", "double_1", "uint32_1", "decimal38_1"):
        values = [v for v in con.execute(f"select distinct {name} from read_parquet('{file}')").fetchall() if v[0] is not None]
        for (v,) in values[:5]:
            n, = con.execute(f"select count(*) from read_parquet('{file}') where {name} = ?", [v]).fetchone()
            assert n == want[name].count(text(name, v)), (file, name, v, n)


def by_spark(files):
    try:
        from pyspark.sql import SparkSession, functions as F
    except ImportError:
        print("no Spark")
        return
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
             .config("spark.sql.session.timeZone", "UTC")
             .config("spark.sql.legacy.parquet.nanosAsLong", "true")
             .config("spark.driver.bindAddress", "127.0.0.1").getOrCreate())
    spark.sparkContext.setLogLevel("ERROR")
    count = 0
    skips = ("int96", "fixed5", "uuid", "time_")
    for file, want in files:
        if "BROTLI" in file or "float16_0" in want:
            continue  # Spark 3.5 knows neither
        frame = spark.read.parquet(file)
        names = [n for n in frame.columns if not n.startswith(skips)]
        for vectorised in ("true", "false"):
            spark.conf.set("spark.sql.parquet.enableVectorizedReader", vectorised)
            spark.conf.set("spark.sql.parquet.enableNestedColumnVectorizedReader", "true")
            rows = [r.asDict() for r in frame.select(*names).collect()]
            for name in names:
                got = [text(name, r[name].asDict() if hasattr(r[name], "asDict") else r[name]) for r in rows]
                compare("spark " + vectorised, file, name, got, want[name])
        spark.conf.set("spark.sql.parquet.enableVectorizedReader", "true")
        total = len(want["row"])
        for low in (0, total // 3, total - 1):
            n = frame.where(F.col("row") >= low).select(*names).count()
            assert n == total - low, (file, low, n)
            got = frame.where((F.col("row") >= low) & (F.col("row") < low + 7)).select("row", "string_1", "int32_3").collect()
            for r in got:
                assert text("string_1", r["string_1"]) == want["string_1"][r["row"]], (file, r)
                assert text("int32_3", r["int32_3"]) == want["int32_3"][r["row"]], (file, r)
        for name in ("int32_1", "string_1", "double_1", "uint32_1", "decimal38_1", "date_1", "decimal9_0"):
            for r in frame.select(name).where(F.col(name).isNotNull()).distinct().limit(4).collect():
                n = frame.where(F.col(name) == F.lit(r[0])).select("row").count()
                assert n == want[name].count(text(name, r[0])), (file, name, r[0], n)
        count += 1
    print("spark read", count, "files")


def main(folder):
    files = []
    for file in sorted(glob.glob(os.path.join(folder, "*.parquet"))):
        with open(file[:-len("parquet")] + "json") as f:
            want = json.load(f)
        files.append((file, want))
        by_pyarrow(file, want)
        by_duckdb(file, want)
    print("pyarrow and duckdb read", len(files), "files")
    by_spark(files)


main(sys.argv[1])
