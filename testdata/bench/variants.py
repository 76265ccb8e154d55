"""Makes the tables of the benchmark's variants out of its own table, and changes where those of that table don't fit.

    python variants.py VARIANT BASE DIR SCALE

BASE is what generate.py made, by the same writer. DIR gets table/, and changes/<case>/ unless BASE's are the variant's too.

    one-group   the same rows as one file of one row group
    files-100   ... as 100 files
    zstd        ... compressed by Zstandard
    uuid        a random text of 36 characters is the key, in place of the two integers
    wide        a tenth of the rows with 200 columns, of which 3 change
    growth      in DIR/x1, x4 and x16: the last rows of a table of four times the SCALE, a sixteenth, a quarter and all of
                them, and one change for all three: the last 10,000 rows
"""

import pathlib
import shutil
import sys

import pyarrow.parquet as pq

import generate
from generate import BY_KEY, FILES, KEY, Batch, connect

COLUMNS = 200
GROWTH = {"x1": 16, "x4": 4, "x16": 1}
UUID = "md5(concat_ws('-', l_orderkey, l_linenumber))::UUID::VARCHAR AS id"


def parts(folder):
    return sorted((folder / "table").glob("*.parquet"))


def missing(target, *names):
    """Of the folders of a variant those that are not there: what an earlier call has made stays."""
    return [name for name in names if not (target / name).exists()]


def one_group(base, target, _):
    with Batch(target, "table") as batch:
        raw = batch.raw / "0.parquet"
        copy(target, f"FROM read_parquet({list(map(str, parts(base)))})", raw)
        batch.add(raw, "part-0.parquet")


def files_100(base, target, _):
    with Batch(target, "table") as batch:
        for i, part in enumerate(parts(base)):
            rows = pq.read_table(part)
            step = -(-rows.num_rows // 25)
            for j in range(25):
                raw = batch.raw / f"{i * 25 + j:03}.parquet"
                pq.write_table(rows.slice(j * step, step), raw, store_decimal_as_integer=True)
                batch.add(raw, f"part-{raw.name}")


def zstd(base, target, _):
    with Batch(target, "table", compression="zstd") as batch:
        for part in parts(base):
            batch.add(part, part.name)


def uuid(base, target, _):
    for name in missing(target, "table", "changes/last-1", "changes/random-0.01", "changes/random-1"):
        with Batch(target, name) as batch:
            for part in sorted((base / name).glob("*.parquet")):
                raw = batch.raw / part.name
                copy(target, f"SELECT {UUID}, * EXCLUDE ({BY_KEY}) FROM '{part}'", raw)
                batch.add(raw, part.name)


def wide(base, target, _):
    for name in missing(target, "table"):
        with Batch(target, name) as batch:
            for part in parts(base):
                raw = batch.raw / part.name
                copy(target, f"SELECT {BY_KEY}, l_comment, {wide_columns()} FROM '{part}' WHERE l_orderkey // 32 % 10 = 0", raw)
                batch.add(raw, part.name)
    values = {"c7": "c7 + 1", "c8": "(c8 + 1.00)::DECIMAL(15, 2)", "l_comment": "left('again ' || l_comment, 44)"}
    generate.changes(target, [], lambda last: {
        "last-1": generate.tail(last, values), "random-1": generate.spread(0.01, (4, 5), values)})


def wide_columns():
    """What tables of many columns have: numbers with few values and with many, amounts, dates, flags, texts."""
    kinds = [
        "({n} % 100000)::INTEGER", "({n} % 50)::INTEGER", "({n} % 10000000 / 100)::DECIMAL(15, 2)",
        "DATE '2020-01-01' + ({n} % 2000)::INTEGER", "CASE {n} % 3 WHEN 0 THEN 'new' WHEN 1 THEN 'open' ELSE 'done' END",
        "'item ' || ({n} % 5000)"]
    return ", ".join(
        kinds[i % len(kinds)].format(n=f"hash({BY_KEY}, {i})") + f" AS c{i}" for i in range(len(KEY) + 1, COLUMNS))


def growth(_, target, scale):
    """Tables that end with the same rows."""
    raw = target / "raw"
    rows = f"'{raw}/lineitem/*.parquet'"
    for _ in missing(target, "raw"):
        new = target / "raw.new"
        shutil.rmtree(new, ignore_errors=True)
        generate.lineitem(new, str(float(scale) * 4))
        new.rename(raw)
    [last] = connect(target).execute(f"SELECT max(l_orderkey) FROM {rows}").fetchone()
    for name in missing(target, *(f"{table}/table" for table in GROWTH)):
        share = GROWTH[name.split("/")[0]]
        with Batch(target, name) as batch:
            for i in range(FILES):
                begin, end = (last - last // share * (FILES - i - at) // FILES for at in (0, 1))
                part = batch.raw / f"part-{i}.parquet"
                copy(target, f"FROM {rows} WHERE l_orderkey > {begin} AND l_orderkey <= {end} ORDER BY {BY_KEY}", part)
                batch.add(part, part.name)
    with Batch(target, "changes/last-10000") as batch:
        at_end = f"FROM '{target}/x1/table/*.parquet' ORDER BY l_orderkey DESC, l_linenumber DESC LIMIT 10000"
        copy(target, f"WITH old AS ({at_end}) {generate.replaced(generate.UPDATED, 'true')} ORDER BY {BY_KEY}", batch.raw / "0.parquet")
        batch.add(batch.raw / "0.parquet", "change-0.parquet")
    shutil.rmtree(raw)


def copy(target, query, out):
    db = connect(target)
    db.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet)")
    db.close()
    shutil.rmtree(target / "spill", ignore_errors=True)


VARIANTS = {
    "one-group": one_group, "files-100": files_100, "zstd": zstd, "uuid": uuid, "wide": wide, "growth": growth}


def main():
    variant, base, target, scale = sys.argv[1], *map(pathlib.Path, sys.argv[2:4]), sys.argv[4]
    complete = target / "complete"
    if complete.exists():
        return
    VARIANTS[variant](base, target, scale)
    complete.write_text(generate.writer() + "\n")


if __name__ == "__main__":
    main()
