"""Has every engine there is read and write the files of a folder, for the tests that name it.

read FOLDER  compares each X.parquet with X.json, which holds per column the rows as null, text or a list
make FOLDER  writes the same rows by every engine
same FOLDER  checks that each X.copy holds the rows of X twice
"""

import datetime
import decimal
import glob
import json
import os
import shutil
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
    spark = spark_session()
    if spark is None:
        print("no Spark")
        return
    from pyspark.sql import functions as F
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


def spark_session():
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        return None
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
             .config("spark.sql.session.timeZone", "UTC")
             .config("spark.sql.legacy.parquet.nanosAsLong", "true")
             .config("spark.driver.bindAddress", "127.0.0.1").getOrCreate())
    spark.sparkContext.setLogLevel("ERROR")
    return spark


ROWS = """
    select i as id, i % 97 as small, 'name ' || (i * 7919 % 5000) as name,
           case when i % 11 = 0 then null else repeat(chr(97 + cast(i % 26 as int)), cast(i % 40 as int)) end as note,
           i / 7.0 as ratio, cast(i * 3 as decimal(20, 2)) as price, i % 3 = 0 as flag,
           timestamp '2024-01-01 00:00:00' + interval (i) minute as at, date '2024-01-01' + cast(i % 365 as int) as day,
           case when i % 5 = 0 then null else [i, i + 1] end as list, {'a': i, 'b': 'x' || (i % 10)} as pair
    from range(30000) t(i)
"""


def make(folder):
    """Writes the same rows by every engine, in several ways."""
    con = duckdb.connect()
    con.execute("create table rows as " + ROWS)
    table = con.execute("select * from rows").to_arrow_table()
    for version in ("1.0", "2.0"):
        for codec in ("snappy", "zstd", "gzip", "none"):
            con.execute(f"copy rows to '{folder}/duckdb_{version}_{codec}.parquet' (parquet_version v{version[0]},"
                        f" compression {codec.replace('none', 'uncompressed')}, row_group_size 8192)")
            pq.write_table(table, f"{folder}/pyarrow_{version}_{codec}.parquet", compression=codec, row_group_size=9000,
                           data_page_version=version, write_page_index=codec != "gzip", write_page_checksum=codec == "zstd")
    import polars
    for codec in ("snappy", "zstd", "lz4"):
        polars.from_arrow(table).write_parquet(f"{folder}/polars_{codec}.parquet", compression=codec, row_group_size=7000)
    spark = spark_session()
    if spark is None:
        return
    frame = spark.read.parquet(f"{folder}/pyarrow_1.0_snappy.parquet").coalesce(1)
    for codec in ("snappy", "zstd", "gzip"):
        for version in ("PARQUET_1_0", "PARQUET_2_0"):
            (frame.write.option("compression", codec).option("parquet.writer.version", version)
             .option("parquet.block.size", 300000).option("parquet.page.row.count.limit", 1000)
             .option("parquet.bloom.filter.enabled#name", "true").option("parquet.bloom.filter.expected.ndv#name", "5000")
             .parquet(f"{folder}/spark"))
            part, = glob.glob(f"{folder}/spark/*.parquet")
            os.rename(part, f"{folder}/spark_{codec}_{version}.parquet")
            shutil.rmtree(f"{folder}/spark")


def same(folder):
    """Checks that each X.copy holds the rows of X twice."""
    con = duckdb.connect()
    spark = spark_session()
    files = sorted(glob.glob(os.path.join(folder, "*.parquet")))
    for file in files:
        copy = file + ".copy"
        twice = f"select * from read_parquet('{file}') union all select * from read_parquet('{file}')"
        for a, b in ((f"select * from read_parquet('{copy}')", twice), (twice, f"select * from read_parquet('{copy}')")):
            n, = con.execute(f"select count(*) from (({a}) except all ({b}))").fetchone()
            assert n == 0, (file, n)
        n, = con.execute(f"select count(*) from read_parquet('{copy}') where name = 'name 4242'").fetchone()
        m, = con.execute(f"select count(*) from read_parquet('{file}') where name = 'name 4242'").fetchone()
        assert n == 2 * m > 0, (file, n, m)
        a, b = pq.read_table(file), pq.read_table(copy, page_checksum_verification=True)
        assert b.equals(pa.concat_tables([a, a])), file
        if spark is not None and "duckdb_2" not in file:  # whose encodings Spark 3.5 does not know
            by_spark_twice(spark, file, copy)
    print("copies of", len(files), "files are the same,", "Spark" if spark else "no Spark")


def by_spark_twice(spark, file, copy):
    from pyspark.sql import functions as F
    a, b = spark.read.parquet(file), spark.read.parquet(copy)
    hashed = F.sum(F.xxhash64("id", "small", "name", "note", "ratio", "price", "flag", "at", "day", "pair").cast("decimal(38,0)"))
    (n, x), = a.select(F.count("*"), hashed).collect()
    (m, y), = b.select(F.count("*"), hashed).collect()
    assert m == 2 * n and y == 2 * x, (file, n, m)
    for condition in ("id >= 29000", "id between 8100 and 8300", "name = 'name 4242'", "note is null", "day = '2024-03-03'"):
        n, m = a.where(condition).select("id", "note", "list").count(), b.where(condition).select("id", "note", "list").count()
        assert m == 2 * n > 0, (file, condition, n, m)


def read(folder):
    files = []
    for file in sorted(glob.glob(os.path.join(folder, "*.parquet"))):
        with open(file[:-len("parquet")] + "json") as f:
            want = json.load(f)
        files.append((file, want))
        by_pyarrow(file, want)
        by_duckdb(file, want)
    print("pyarrow and duckdb read", len(files), "files")
    by_spark(files)


{"read": read, "make": make, "same": same}[sys.argv[1]](sys.argv[2])
