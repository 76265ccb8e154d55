package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestJobsAskDuckDB: queries that a job expects to find nothing see the staged rows whole: old and new ones, files that lack a column,
// and partition columns in their types, NULL among them.
func TestJobsAskDuckDB(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other engines")
	}
	engine, hupsert, dir := python(t), binary(t), t.TempDir()
	program, err := filepath.Abs(filepath.Join(testdata(t), "engines", "duckdb_program.py"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("duckdb", fmt.Sprintf("#!/bin/sh\nexec '%s' -B '%s' \"$@\"\n", engine, program))
	run := func(want int, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), hupsert, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
		text, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			t.Fatalf("%v, want exit code %d\n%s", err, want, text)
		}
		return string(text)
	}
	write("old.csv", "id,amount,at,dt,n,s\n1,1.5,2026-11-20T08:00:00Z,2026-11-20,1,it's\n2,2.5,2026-11-20T09:00:00Z,2026-11-20,1,it's\n3,,2026-11-20T09:00:00Z,,2,x\n")
	run(0, "upsert", "t", "--from", "old.csv", "--create", "--partition-by", "dt:date,n:int,s", "--schema", "id bigint, amount decimal(9,2), at timestamp", "--key", "id")
	run(0, "config", "t", "--set", "key=id", "--set", "schema=")
	write("new.csv", "id,amount,at,city,dt,n,s\n2,9.5,2026-11-20T10:00:00Z,rome,2026-11-20,1,it's\n4,4,,,2026-11-20,1,it's\n5,,,oslo,,2,x\n")
	job := func(sql string) string {
		return "steps:\n  - table: t\n    from: new.csv\n    new-columns: add\n    cast: city:string\n    target-file-size: 1\n    expect:\n      - sql: |\n          " + sql + "\n"
	}
	for sql, want := range map[string]string{
		"select * from staged where amount > 9;":                                                             `1 row: id=2 amount=`,
		"select sum(id) as ids, count(city) as c from staged":                                                `1 row: ids=15 c=2`,
		"select id from staged where dt is null order by id":                                                 `2 rows: id=3, id=5`,
		"select distinct dt + 1 as d, n + 1 as n, s from staged where n = 1":                                 `1 row: d="2026-11-21`,
		"select id, s from staged where s = 'it''s' and dt = date '2026-11-20' and city is null order by id": `2 rows: id=1 s="it's", id=4 s="it's"`,
		"select i from range(1000) t(i) order by i":                                                          `1000 rows: i=0, i=1, i=2, i=3, i=4, ...`,
	} {
		write("job.yaml", job(sql))
		if text := run(5, "run", "job.yaml"); !strings.Contains(text, want) {
			t.Errorf("%s:\n%s\nwant %s", sql, text, want)
		}
	}
	write("job.yaml", job("select nosuch from staged"))
	if text := run(2, "run", "job.yaml"); !strings.Contains(text, "nosuch") {
		t.Errorf("a query that can't be run:\n%s", text)
	}
	write("job.yaml", job("select * from staged where id > 5"))
	run(0, "run", "job.yaml")
}
