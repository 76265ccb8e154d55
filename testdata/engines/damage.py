"""Says what pyarrow reads of damaged Parquet files, and whether what hupsert made of them is that.

    python damage.py

Reads a line of JSON for each question and answers by one. {"Good": file, "Change": file} writes a change for a good file and
tells the options that its key needs. {"Good", "Damaged", "Change", "Keys", "Role", "Out"} holds the files of Out against the damaged
one: "equal"; "undamaged", the good file's rows where pyarrow does not read the damaged one; "carried", every column that pyarrow
reads of the damaged file is right and every other one it still does not read; or "wrong", with what is. "unread": there is
nothing to compare with.
"""

import collections
import functools
import json
import pathlib
import resource
import sys

import pyarrow as pa
import pyarrow.parquet as pq

import corpus

ADDRESS_SPACE = 8 << 30


def binary(t):
    """A type with text as bytes: a flipped bit makes text that is none."""
    if pa.types.is_string(t):
        return pa.binary()
    if pa.types.is_large_string(t):
        return pa.large_binary()
    return t


class Rows:
    """Rows of files, as they compare; column by column if asked to, so that one that can't be read stops no other."""

    def __init__(self, paths, columns=None, apart=False):
        tables = [self.read(p, columns, apart) for p in paths]
        self.names = tables[0].column_names if tables else []
        if any(t.column_names != self.names for t in tables):
            raise ValueError("files of different columns")
        self.tables = tables
        self.rows = [row for t in tables for row in corpus.rows(t)]

    @staticmethod
    def read(path, columns, apart):
        f = pq.ParquetFile(path, arrow_extensions_enabled=False, coerce_int96_timestamp_unit="us")
        if apart:
            table = pa.concat_tables([f.read_row_group(g, columns=columns, use_threads=False) for g in range(f.num_row_groups)])
        else:
            table = f.read(columns=columns, use_threads=False)
        table.validate(full=False)
        for i, field in enumerate(table.schema):
            if binary(field.type) != field.type:
                table = table.set_column(i, field.name, pa.chunked_array([c.cast(binary(field.type)) for c in table.column(i).chunks], binary(field.type)))
        return corpus.mend(table)

    def type(self, name):
        return self.tables[0].schema.field(name).type if self.tables else None

    def keys(self, key):
        out = []
        for t in self.tables:
            columns = []
            for name in key:
                column = t.select([name])
                values = [v for v, in corpus.rows(column)]
                if pa.types.is_floating(column.schema.field(0).type):
                    values = ["NaN" if v != v else v for v in column[0].to_pylist()]
                columns.append(values)
            out += zip(*columns)
        return out


def hidden(path, old, key):
    """Rows whose key is not where the statistics of its row group say: past their bounds, or NULL where they count none. A merge takes
    statistics at their word, and need not find them."""
    f = pq.ParquetFile(path)
    rows, first = set(), 0
    values = {name: [v for t in old.tables for v in t.column(name).to_pylist()] for name in key}
    for g in range(f.num_row_groups):
        group = f.metadata.row_group(g)
        columns = {group.column(c).path_in_schema: group.column(c).statistics for c in range(group.num_columns)}
        for name in key:
            s = columns.get(name)
            if s is None:
                continue
            least, most = (v.encode() if isinstance(v, str) else v for v in (s.min, s.max)) if s.has_min_max else (None, None)
            for i in range(first, min(first + group.num_rows, len(old.rows))):
                value = values[name][i]
                if value is None and s.has_null_count and s.null_count == 0:
                    rows.add(i)
                elif value is not None and value == value and type(value) is type(least) and not least <= value <= most:
                    rows.add(i)
        first += group.num_rows
    return rows


def behind_pages(q):
    """Whether only bytes between the last page and the footer are damaged: the page index, which pyarrow does not show, and filters. A merge takes
    them at their word, as far as nothing else contradicts them."""
    good, damaged = (pathlib.Path(q[name]).read_bytes() for name in ("Good", "Damaged"))
    meta = pq.ParquetFile(q["Good"]).metadata
    end = 0
    for g in range(meta.num_row_groups):
        for c in range(meta.num_columns):
            chunk = meta.row_group(g).column(c)
            first = chunk.dictionary_page_offset or chunk.data_page_offset
            end = max(end, min(first, chunk.data_page_offset) + chunk.total_compressed_size)
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    return len(good) == len(damaged) and good[:end] == damaged[:end] and good[footer:] == damaged[footer:]


def unfound(q, old, got):
    """Rows of keys in the change that came out as they were."""
    keys = set(Rows([q["Change"]]).keys(q["Keys"]["Key"]))
    left = collections.Counter(got.rows)
    return {i for i, k in enumerate(old.keys(q["Keys"]["Key"])) if k in keys and left[old.rows[i]] > 0}


def merged(old, change, key, hidden=frozenset()):
    """The rows after a change, by the semantics of an upsert; those that are hidden stay as they are."""
    at = [change.names.index(n) for n in old.names]
    ops = [row[change.names.index(corpus.OP)] for row in change.rows] if key else []
    new = [tuple(row[i] for i in at) for row in change.rows]
    if not key:
        return old.rows + new
    own = [old.names.index(k) for k in key]
    by_key = {k: i for i, k in enumerate(change.keys(key))}
    met, want = set(), []
    for at_row, (row, k) in enumerate(zip(old.rows, old.keys(key))):
        i = None if at_row in hidden else by_key.get(k)
        met.add(i)
        if i is None:
            want.append(row)
        elif ops[i] != b"D":
            values = list(new[i])
            for place in own:
                values[place] = row[place]
            want.append(tuple(values))
    return want + [new[i] for i in range(len(new)) if i not in met and ops[i] != b"D"]


def expected(rows, q, columns=None, hidden=frozenset()):
    if q["Role"] != "old partition":
        return rows.rows
    # What the key is made of may be gone from a damaged file; then nothing is expected.
    change = Rows([q["Change"]], columns and columns + ([corpus.OP] if q["Keys"]["Key"] else []))
    return merged(rows, change, q["Keys"]["Key"], hidden)


def alike(got, want):
    """Whether two rows differ by 2^64 nanoseconds alone, less than a microsecond aside. Damage can give an INT96 more of them than a day
    has: with a sign (parquet-mr, the engine) or without (Arrow)."""
    return all(g == w or type(g) is int and type(w) is int and abs((g - w + 2**63) % 2**64 - 2**63) < 1000 for g, w in zip(got, want))


def difference(got, want):
    a, b = collections.Counter(got), collections.Counter(want)
    if a == b:
        return ""
    many, few = list((a - b).elements()), list((b - a).elements())
    if len(many) == len(few) and all(abs(v) < 2**64 for row in many for v in row if type(v) is int):
        beyond = [row for row in few if any(type(v) is int and not -(2**63) <= v < 2**63 for v in row)]
        if len(beyond) == len(few) and all(any(alike(g, w) for g in many) for w in few):
            return ""
    return f"{str(many[:2])[:300]} too many, {str(few[:2])[:300]} too few"


@functools.lru_cache(maxsize=8)
def good(path):
    try:
        return Rows([path])
    except Exception:
        return None


def same_leaves(q, out, within=""):
    """Whether each leaf below a path, read alone, is what it should be. Where damage makes leaves of one list disagree on its elements, a reader
    that puts them together has to invent something; what was damaged went through as it was then."""
    key = q["Keys"]["Key"] or [] if q["Role"] == "old partition" else []
    schema = pq.ParquetFile(q["Damaged"]).schema
    # The change has the same leaves in the same order, but pyarrow's own names within lists and maps.
    change = pq.ParquetFile(q["Change"]).schema
    leaves = {schema.column(i).path: change.column(i).path for i in range(len(schema)) if schema.column(i).path.startswith(within)}
    try:
        for leaf, own in leaves.items():
            if leaf in key:
                continue
            wanted = [*key, leaf]
            if difference(Rows(out, wanted).rows, expected(Rows([q["Damaged"]], wanted), q, [*key, own])):
                return False
    except Exception:
        return False
    return any("." in leaf for leaf in leaves)


def groups_apart(q, out, damaged):
    """Whether the rows are right where each row group is read by itself. Of a chunk's last page pyarrow does not mind that its header says
    more values than there are, unless another row group follows, which was added."""
    try:
        return not difference(Rows(out, apart=True).rows, expected(damaged, q))
    except Exception:
        return False


def other_levels(q, name):
    """Whether damage gave a column levels that it had not, of a chunk whose levels are said to be BIT_PACKED: from the most significant bit
    on, says the format, and pyarrow unpacks them from the least one."""
    def levels(file):
        meta = pq.read_metadata(file)
        at = [i for i in range(meta.num_columns) if meta.schema.column(i).path.split(".")[0] == name]
        shape = [(meta.schema.column(i).max_repetition_level, meta.schema.column(i).max_definition_level) for i in at]
        return shape, any("BIT_PACKED" in meta.row_group(g).column(i).encodings for g in range(meta.num_row_groups) for i in at)
    try:
        (good, _), (damaged, packed) = levels(q["Good"]), levels(q["Damaged"])
    except Exception:
        return False
    return packed and good != damaged


def bare(value):
    """A value without what holds only one other, at any depth."""
    while isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return tuple(bare(v) for v in value) if isinstance(value, tuple) else value


def judge(q):
    out = sorted(pathlib.Path(q["Out"]).glob("*.parquet"))
    try:
        damaged = Rows([q["Damaged"]])
    except Exception:
        damaged = None
    try:
        got = Rows(out)
    except Exception as e:
        got = str(e)[:200]
    if damaged is not None:
        if isinstance(got, str) and groups_apart(q, out, damaged):
            return "carried", "row groups are read apart"
        if isinstance(got, str):
            return "wrong", "pyarrow can't read what came out: " + got
        if not out and not expected(damaged, q):
            return "equal", ""
        if sorted(got.names) != sorted(damaged.names):
            return "wrong", f"columns {got.names}, want {damaged.names}"
        wrong = difference(got.rows, expected(damaged, q))
        if not wrong or same_leaves(q, out):
            return "equal", ""
        if q["Role"] == "old partition" and q["Keys"]["Key"]:
            unseen = hidden(q["Damaged"], damaged, q["Keys"]["Key"])
            if unseen and not difference(got.rows, expected(damaged, q, hidden=unseen)):
                return "carried", "statistics hide rows"
            if behind_pages(q) and not difference(got.rows, expected(damaged, q, hidden=unfound(q, damaged, got))):
                return "carried", "the page index hides rows"
        return "wrong", wrong
    before = good(q["Good"])
    if before is None:
        return "unread", ""
    if not isinstance(got, str) and got.names == before.names:
        if not difference(got.rows, expected(before, q)):
            return "undamaged", ""
    return columns(q, out, before)


def columns(q, out, before):
    """Judges each column by itself."""
    key = q["Keys"]["Key"] or [] if q["Role"] == "old partition" else []
    read = 0
    for name in before.names:
        if name in key:
            continue
        wanted = list(dict.fromkeys([*key, name]))
        try:
            damaged = Rows([q["Damaged"]], wanted)
        except Exception:
            damaged = None
        try:
            got = Rows(out, wanted)
        except Exception:
            got = None
        if damaged is None and got is None:
            continue
        if damaged is None:
            base = Rows([q["Good"]], wanted)
            want = expected(base, q, wanted)
            wrong = difference(got.rows, want)
            if wrong and got.type(name) != base.type(name):
                # Where damage took the annotation of a list or a map, its group is a struct of one field, which pyarrow may not read.
                wrong = difference(map(bare, got.rows), map(bare, want))
            if wrong and not same_leaves(q, out, name + ".") and not other_levels(q, name):
                return "wrong", f"column {name}, which pyarrow does not read of the damaged file: {wrong}"
        elif got is None:
            return "wrong", f"column {name} could be read before"
        else:
            wrong = difference(got.rows, expected(damaged, q, wanted))
            if wrong:
                return "wrong", f"column {name}: {wrong}"
        read += 1
    return "carried", f"{read} of {len(before.names) - len(key)} columns are read"


def prepare(q):
    try:
        about = pq.ParquetFile(q["Good"]).metadata
        if sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups)) > corpus.MOST_BYTES:
            return {"Unread": "too large"}
        table = corpus.mend(corpus.pyarrow_reads(q["Good"]))
    except Exception as e:
        return {"Unread": str(e)[:100]}
    if len(table) == 0:
        row = corpus.nulls(table.schema)
        if row is None:
            return {"Unread": "no row to add"}
        pq.write_table(row, q["Change"])
        return {"Keys": {}}
    key, options = corpus.find_key(table)
    if not key:
        pq.write_table(table.slice(0, 2), q["Change"])
        return {"Keys": {}}
    source, _, _ = corpus.change(table, key)
    pq.write_table(source, q["Change"])
    return {"Keys": {"Key": key, "Null": "--null-keys" in options, "Floats": "--allow-float-keys" in options,
                     "Twice": "--old-duplicates" in options}}


def main():
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for line in sys.stdin:
        q = json.loads(line)
        if "Damaged" not in q:
            print(json.dumps(prepare(q)), flush=True)
            continue
        try:
            verdict, why = judge(q)
        except Exception as e:
            verdict, why = "wrong", f"the script failed: {e!r}"
        print(json.dumps({"Verdict": verdict, "Why": why}), flush=True)


if __name__ == "__main__":
    main()
