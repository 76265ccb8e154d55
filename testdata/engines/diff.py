"""Holds what `hupsert diff` and `hupsert compare` say of the random upserts of cases.py against DuckDB.

    python diff.py DIR     of each case diff.json, feed.parquet and compare.json; prints one line per fault

For a diff the expectation is the full outer join of check.py: rows by class, changed rows by column, the rows of the change
feed; and the feed, applied to the old rows, must give the new ones. For a comparison it is a full outer join of the old
and the new files on the key. Exits 1 when there is a fault.
"""

import json
import pathlib
import sys

from check import Checker, quoted

SAMPLE = 20


def number(text):
    """An integer of JSON, or the negative zero of a float, which Python takes for the integer."""
    return -0.0 if text == "-0" else int(text)


class DiffChecker(Checker):
    def rows(self, sql):
        return self.db.execute(sql).fetchall()

    def one(self, sql):
        return self.rows(sql)[0][0]

    def same(self, case, what, left, right):
        """Holds that two queries give the same rows, as often."""
        for a, b, text in ((left, right, "missing"), (right, left, "too many")):
            if rows := self.rows(f"SELECT COLUMNS(*)::VARCHAR FROM (({a}) EXCEPT ALL ({b}))"):
                self.fault(case, f"{what}: {len(rows)} rows {text}, such as {rows[0]!r:.300}")

    def check(self, case):
        about = json.loads((case / "case.json").read_text())
        self.expect(case, about)
        self.check_diff(case, about)
        self.check_compare(case, about)

    # -- diff -------------------------------------------------------------------------------------------------------------

    def check_diff(self, case, about):
        diff = json.loads((case / "diff.json").read_text(), parse_int=number)
        columns = about["columns"]
        # Values are compared as texts, too: to SQL 0.0 is -0.0.
        value = {c: v for c, v in zip(columns, self.values)}
        differs = {c: f'({v} IS DISTINCT FROM o."{c}" OR ({v})::VARCHAR IS DISTINCT FROM o."{c}"::VARCHAR)' for c, v in value.items()}
        select = ", ".join(f'{v} AS "{c}"' for c, v in value.items())
        flags = ", ".join(f'class = \'update\' AND {d} AS "differs {c}"' for c, d in differs.items())
        before = ", ".join(f'o."{c}" AS "old {c}"' for c in columns)
        self.db.execute(f"CREATE OR REPLACE TEMP TABLE changed AS SELECT class, {before}, {select}, {flags} FROM joined")
        anything = " OR ".join(f'"differs {c}"' for c in columns)
        count = lambda where: self.one(f"SELECT count(*) FROM changed WHERE {where}")  # noqa: E731
        want = {"inserted": count("class = 'insert'"), "deleted": count("class = 'delete'"), "updated": count(anything),
                "unchanged": count(f"class = 'update' AND NOT ({anything})")}
        have = {k: diff["total"]["rows"][k] for k in want}
        if want != have:
            self.fault(case, f"diff: rows {have}, want {want}")
        want_columns = {c: n for c in columns if (n := count(f'"differs {c}"'))}
        have_columns = {c["column"]: c["rows"] for c in diff["total"]["columns"]}
        if want_columns != have_columns:
            self.fault(case, f"diff: changed rows by column {have_columns}, want {want_columns}")
        changes = want["inserted"] + want["deleted"] + want["updated"]
        if diff["different"] != (changes > 0):
            self.fault(case, f"diff: different is {diff['different']}, and there are {changes} changes")
        self.check_sample(case, diff["sample"], min(SAMPLE, changes), {"insert": want["inserted"], "delete": want["deleted"], "update": want["updated"]})
        self.check_feed(case, columns, anything)

    def check_sample(self, case, sample, want, most):
        if len(sample) != want:
            self.fault(case, f"sample: {len(sample)} rows, want {want}")
        for change, n in most.items():
            if sum(r["change"] == change for r in sample) > n:
                self.fault(case, f"sample: more of {change} than there are")
        for r in sample:
            both = "old" in r and "new" in r
            # As texts, in which the zeros of floats differ.
            if r["change"] in ("update", "different") and (
                not both or r["old"].keys() != r["new"].keys() or any(repr(r["old"][c]) == repr(r["new"][c]) for c in r["old"])
            ):
                self.fault(case, f"sample: {r!r:.300}")

    def check_feed(self, case, columns, anything):
        feed = f"read_parquet('{case}/feed.parquet')"
        names, old = quoted(columns), ", ".join(f'"old {c}" AS "{c}"' for c in columns)
        want = (f"SELECT 'delete' AS _change_type, {old} FROM changed WHERE class = 'delete' "
                f"UNION ALL SELECT 'insert', {names} FROM changed WHERE class = 'insert' "
                f"UNION ALL SELECT 'update_preimage', {old} FROM changed WHERE {anything} "
                f"UNION ALL SELECT 'update_postimage', {names} FROM changed WHERE {anything}")
        self.same(case, "feed", want, f"SELECT _change_type, {names} FROM {feed}")
        applied = (f"(SELECT {names} FROM old EXCEPT ALL SELECT {names} FROM {feed} WHERE _change_type IN ('delete', 'update_preimage')) "
                   f"UNION ALL SELECT {names} FROM {feed} WHERE _change_type IN ('insert', 'update_postimage')")
        self.same(case, "feed applied to the old rows", f"SELECT {names} FROM want", applied)
        want_types = {n: t for n, t, *_ in self.rows(f"DESCRIBE SELECT {names} FROM old")}
        have_types = {n: t for n, t, *_ in self.rows(f"DESCRIBE SELECT {names} FROM {feed}")}
        if want_types != have_types:
            self.fault(case, f"feed: types {have_types}, want {want_types}")

    # -- compare ----------------------------------------------------------------------------------------------------------

    def check_compare(self, case, about):
        got = json.loads((case / "compare.json").read_text(), parse_int=number)
        columns, keys = about["columns"], about["keys"]
        for name, folder in (("a", "old"), ("b", "table")):
            self.db.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {quoted(columns)}, true AS here "
                            f"FROM {self.scan(sorted((case / folder).glob('*.parquet')))}")
        twice = sum(self.one(f"SELECT count(*) FROM (SELECT 1 FROM {t} GROUP BY {quoted(keys)} HAVING count(*) > 1)") for t in "ab")
        errors = [e["error"]["kind"] for e in got["partitions"] if "error" in e]
        if twice or errors:
            if not twice or errors != ["duplicate_key"]:
                self.fault(case, f"compare: errors {errors}, and {twice} keys stand twice")
            return
        on = " AND ".join(f'a."{k}" IS NOT DISTINCT FROM b."{k}"' for k in keys)
        flags = ", ".join(
            f'(a.here AND b.here AND (a."{c}" IS DISTINCT FROM b."{c}" OR a."{c}"::VARCHAR IS DISTINCT FROM b."{c}"::VARCHAR)) AS "{c}"' for c in columns)
        self.db.execute(f"CREATE OR REPLACE TEMP TABLE compared AS SELECT a.here AS a, b.here AS b, {flags} FROM a FULL JOIN b ON {on}")
        count = lambda where: self.one(f"SELECT count(*) FROM compared WHERE {where}")  # noqa: E731
        anything = " OR ".join(f'coalesce("{c}", false)' for c in columns)
        want = {"table": count("a"), "other": count("b"), "same": count(f"a AND b AND NOT ({anything})"), "different": count(f"a AND b AND ({anything})"),
                "only_in_table": count("b IS NULL"), "only_in_other": count("a IS NULL")}
        if got["total"]["rows"] != want:
            self.fault(case, f"compare: rows {got['total']['rows']}, want {want}")
        want_columns = {c: n for c in columns if (n := count(f'"{c}"'))}
        have_columns = {c["column"]: c["rows"] for c in got["total"]["columns"]}
        if want_columns != have_columns:
            self.fault(case, f"compare: rows that differ by column {have_columns}, want {want_columns}")
        differ = want["different"] + want["only_in_table"] + want["only_in_other"]
        # Where one side has no files there is nothing to read keys with.
        self.check_sample(case, got["sample"], min(SAMPLE, differ), {c: want[c] for c in ("different", "only_in_table", "only_in_other")})


def main():
    checker = DiffChecker()
    for case in sorted(d for d in pathlib.Path(sys.argv[1]).glob("case-*") if (d / "compare.json").exists()):
        try:
            checker.check(case)
        except Exception as e:  # noqa: BLE001: what can't be compared is a fault
            checker.fault(case, f"{type(e).__name__}: {e}")
    sys.exit(1 if checker.faults else 0)


if __name__ == "__main__":
    main()
