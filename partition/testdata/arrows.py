"""Arrow IPC with all that pyarrow writes, and tables made of it: arrows.py make|same FOLDER."""
import datetime, decimal, pathlib, sys, uuid

import pyarrow as pa, pyarrow.ipc as ipc, pyarrow.parquet as pq

folder = pathlib.Path(sys.argv[2])
formats = {"file": (ipc.new_file, ipc.open_file), "stream": (ipc.new_stream, ipc.open_stream)}


def columns():
    n = range(300)
    texts = [None if i % 7 == 0 else f"text {i % 11}" for i in n]
    lists = [None if i % 6 == 0 else list(range(i % 3)) for i in n]
    cents = [decimal.Decimal(i).scaleb(-2) for i in n]
    ext = pa.ExtensionArray.from_storage
    return {
        "dictionary": pa.array(texts).dictionary_encode(),
        "dictionary_of_integers": pa.array([None if i % 5 == 0 else i % 4 for i in n], pa.int64()).dictionary_encode(),
        "large_string": pa.array(texts, pa.large_string()),
        "string_view": pa.array([t and t + " of more than twelve bytes" * (i % 2) for i, t in enumerate(texts)], pa.string_view()),
        "binary_view": pa.array([t and t.encode() for t in texts], pa.binary_view()),
        "large_list": pa.array(lists, pa.large_list(pa.int32())),
        "list_view": pa.array(lists, pa.list_view(pa.int32())),
        "fixed_list": pa.array([None if i % 6 == 0 else [i, i + 1] for i in n], pa.list_(pa.int32(), 2)),
        "run_ends": pa.RunEndEncodedArray.from_arrays([100, 200, 300], ["x", None, "z"]),
        "uuid": ext(pa.uuid(), pa.array([uuid.UUID(int=i).bytes for i in n], pa.binary(16))),
        "bool8": ext(pa.bool8(), pa.array([i % 2 for i in n], pa.int8())),
        "json": ext(pa.json_(), pa.array(['{"a":%d}' % i for i in n])),
        "decimal256": pa.array(cents, pa.decimal256(50, 2)),
        "date64": pa.array([datetime.date(2024, 1, 1) + datetime.timedelta(i) for i in n], pa.date64()),
        "float16": pa.array([float(i) for i in n], pa.float16()),
        "struct": pa.array([None if i % 9 == 0 else {"a": i, "b": str(i)} for i in n]),
        "map": pa.array([None if i % 9 == 0 else [(str(i), i)] for i in n], pa.map_(pa.string(), pa.int64())),
        "null": pa.nulls(len(n)),
        "time32": pa.array([datetime.time(1, 2, 3)] * len(n), pa.time32("s")),
        "zone": pa.array([datetime.datetime(2024, 1, 1)] * len(n), pa.timestamp("us", "Asia/Seoul")),
        # These are refused.
        "decimal32": pa.array(cents, pa.decimal32(9, 2)),
        "duration": pa.array(n, pa.duration("s")),
    }


def make():
    for name, column in columns().items():
        table = pa.table({"id": pa.array(range(300), pa.int64()), "v": column})
        for compression in [None, "lz4", "zstd"]:
            for kind, (new, _) in formats.items():
                with new(str(folder / f"{name}.{compression}.{kind}.arrow"), table.schema, options=ipc.IpcWriteOptions(compression=compression)) as w:
                    for batch in table.to_batches(max_chunksize=97):
                        w.write_batch(batch)
    # Dictionaries that grow between batches, by a delta or as a whole, or are replaced.
    s = pa.schema([("id", pa.int64()), ("v", pa.dictionary(pa.int8(), pa.string()))])
    first, grown, other = pa.array(["a", "b"]), pa.array(["a", "b", "c"]), pa.array(["c", "b"])
    for name, then, deltas, kinds in [("delta", grown, True, ["file", "stream"]), ("grown", grown, False, ["stream"]), ("replaced", other, False, ["stream"])]:
        for kind in kinds:
            with formats[kind][0](str(folder / f"dictionary_{name}.{kind}.arrow"), s, options=ipc.IpcWriteOptions(emit_dictionary_deltas=deltas)) as w:
                for ids, dictionary, codes in [([1, 2], first, [0, 1]), ([3, 4], then, [len(then) - 1, None])]:
                    w.write_batch(pa.record_batch([pa.array(ids), pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), dictionary)], schema=s))


def plain(column):
    """Values whatever the type is that holds them."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    return column.to_pylist()


def same():
    count = 0
    for name in sorted(folder.glob("*.arrow")):
        made = sorted((folder / name.stem).glob("*.parquet"))
        if not made:
            continue
        count += 1
        have = pa.concat_tables([pq.read_table(f, partitioning=None) for f in made]).sort_by("id")
        want = formats[name.stem.split(".")[-1]][1](str(name)).read_all()
        assert have["id"].to_pylist() == want["id"].to_pylist(), name
        got, said = plain(have["v"]), plain(want["v"])
        if isinstance(want["v"].type, pa.BaseExtensionType) and want["v"].type.extension_name == "arrow.bool8":
            said = [int(v) for v in said]
        assert got == said, (name, have["v"].type, [x for x in zip(got, said) if x[0] != x[1]][:3])
    print(count)


{"make": make, "same": same}[sys.argv[1]]()
