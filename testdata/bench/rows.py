"""Prints how many rows a folder of Parquet files (or a Delta table) holds, and a hash of them in any order.

    python rows.py DIR
"""

import pathlib
import sys

import duckdb


def main():
    folder = pathlib.Path(sys.argv[1])
    if (folder / "_delta_log").exists():
        import deltalake

        files = deltalake.DeltaTable(str(folder)).file_uris()
    else:
        files = [str(f) for f in folder.rglob("*.parquet")]
    hive = "hive_partitioning = false"
    if any(folder.glob("part=*")):
        hive = "hive_partitioning = true, hive_types = {'part': INTEGER}"
    rows, total = duckdb.execute(
        f"SELECT count(*), sum(hash(*COLUMNS(*))::HUGEINT) FROM read_parquet(?, {hive})", [files]).fetchone()
    print(f"{rows} rows, hash {total}")


if __name__ == "__main__":
    main()
