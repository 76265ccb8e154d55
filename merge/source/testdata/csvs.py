"""Writes CSV in many dialects, each beside its options and rows: csvs.py FOLDER."""
import csv, json, pathlib, random, sys

import duckdb, polars, pyarrow, pyarrow.csv

folder = pathlib.Path(sys.argv[1])
chance = random.Random(7)
pieces = ["a", "b", ",", ";", "|", "\t", '"', "'", "\\", "\n", "\r\n", " ", "ä", "€", "NA", "\\N", "#", "x y"]


def text(without=""):
    parts = [p for p in pieces if not any(c in p for c in without)]
    return "".join(chance.choice(parts) for _ in range(chance.randint(0, 4)))


def rows(n=200, without="", null=True):
    def cell():
        return None if null and chance.random() < 0.2 else text(without)
    return [(i, cell(), cell()) for i in range(n)]


def save(name, options, data):
    (folder / f"{name}.json").write_text(json.dumps({"options": options, "rows": data}))


def by_duckdb(name, options, data, **said):
    con = duckdb.connect()
    con.execute("create table t(id bigint, s varchar, u varchar)")
    con.executemany("insert into t values (?, ?, ?)", data)
    words = ", ".join(f"{k} '{v}'" if isinstance(v, str) else f"{k} {v}" for k, v in said.items())
    con.execute(f"copy (from t order by id) to '{folder / name}.csv' (format csv, {words or 'header true'})")
    save(name, options, data)


# DuckDB quotes a field that needs it, and one that equals its text for NULL.
by_duckdb("duckdb", {}, rows())
by_duckdb("duckdb_semicolon", {"Delimiter": ";"}, rows(), delimiter=";")
by_duckdb("duckdb_tab", {"Delimiter": "\\t"}, rows(), delimiter="\t")
# Its escape stays a double quote, whatever the quote is, and is itself written as it is.
by_duckdb("duckdb_quote", {"Quote": "'", "Escape": '"'}, rows(without='"'), quote="''")
by_duckdb("duckdb_null", {"Null": ["NA"]}, rows(), nullstr="NA")
by_duckdb("duckdb_escape", {"Escape": "\\"}, [r for r in rows(without="\\")], escape="\\")
by_duckdb("duckdb_no_header", {"NoHeader": True, "Columns": ["id", "s", "u"]}, rows(), header="false")
by_duckdb("duckdb_all_quoted", {}, rows(), force_quote="*")

# pyarrow: NULL is an empty field, texts are quoted.
table = rows()
pyarrow.csv.write_csv(pyarrow.table(list(zip(*table)), names=["id", "s", "u"]), folder / "pyarrow.csv")
save("pyarrow", {}, table)

# Polars quotes what needs it; NULL is what it is told.
frame = polars.DataFrame(table, schema=["id", "s", "u"], orient="row")
frame.write_csv(folder / "polars.csv", null_value="NULL", quote_style="non_numeric")
save("polars", {"Null": ["NULL"]}, table)

# Python: every encoding, and escapes in place of doubled quotes.
for name, encoding in [("utf16", "utf-16"), ("utf8_bom", "utf-8-sig"), ("cp1252", "cp1252"), ("utf16le", "utf-16-le")]:
    table = rows(null=False)
    with open(folder / f"python_{name}.csv", "w", encoding=encoding, newline="") as f:
        w = csv.writer(f, quoting=csv.QUOTE_NONNUMERIC)
        w.writerows([("id", "s", "u"), *table])
    save(f"python_{name}", {"Encoding": {"cp1252": "windows-1252", "utf16le": "utf-16le"}.get(name, "")}, table)
for name, quoting in [("escape", csv.QUOTE_ALL), ("escape_unquoted", csv.QUOTE_NONE)]:
    table = rows(null=False, without="\r")
    with open(folder / f"python_{name}.csv", "w", newline="") as f:
        w = csv.writer(f, quoting=quoting, escapechar="\\", doublequote=False, lineterminator="\n")
        w.writerows([("id", "s", "u"), *table])
    save(f"python_{name}", {"Escape": "\\", "Null": ["none of them"]}, table)
