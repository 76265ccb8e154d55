package partition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// documented are the first cells of a table of docs/semantics.md.
func documented(t *testing.T, section string) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../docs/semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(text, -1) {
		if m[1] != "case" && !strings.HasPrefix(m[1], "---") {
			rows[m[1]] = true
		}
	}
	if len(rows) == 0 {
		t.Fatalf("no table in section %s", section)
	}
	return rows
}

// columnCase is a table of one partition, a source with types of its own, and what becomes of it.
type columnCase struct {
	row    string // of the table in docs/semantics.md
	schema string // of the table; "id bigint, v bigint"
	old    string // its rows as a JSON array of objects
	source string // columns and types of the source
	rows   string // its rows
	o      Options
	want   []string // the table's rows afterwards, without the partition
	counts string   // "updated", "unchanged" or nothing
	err    error
	text   string // in the error
	hint   string // in the hint; "not --cast": not in it
}

// recordsOf makes a source of rows in JSON, with types.
func recordsOf(t *testing.T, s *arrow.Schema, rows string) Source {
	t.Helper()
	r, err := jsonRecords(s, rows)
	if err != nil {
		t.Fatalf("%v in %s", err, rows)
	}
	return Records(r)
}

func jsonRecords(s *arrow.Schema, rows string) (array.RecordReader, error) {
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(rows))
	if err != nil {
		return nil, err
	}
	return array.NewRecordReader(s, []arrow.Record{rec})
}

func (c columnCase) run(t *testing.T) {
	b := newBench(t)
	const day = "dt=2026-11-20"
	if c.schema == "" {
		c.schema = "id bigint, v bigint"
	}
	s, err := ParseSchema(c.schema)
	if err != nil {
		t.Fatal(err)
	}
	create := Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: c.schema, Mode: Append, Partitions: []string{day}}
	if _, err := b.open().Upsert(context.Background(), recordsOf(t, s, c.old), create); err != nil {
		t.Fatal(err)
	}
	from, err := ParseSchema(c.source)
	if err != nil {
		t.Fatal(err)
	}
	before := b.snapshot()
	c.o.Partitions = []string{day}
	if c.o.Key == nil {
		c.o.Key = []string{"id"}
	}
	rep, err := b.open().Upsert(context.Background(), recordsOf(t, from, c.rows), c.o)
	if c.err != nil {
		hint, not := strings.CutPrefix(c.hint, "not ")
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) || strings.Contains(Hint(err), hint) == (not && hint != "") || b.snapshot() != before {
			t.Errorf("%v, hint %q, want %v: %s, hint %q; changed: %v", err, Hint(err), c.err, c.text, c.hint, b.snapshot() != before)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v, hint %q", err, Hint(err))
	}
	for i, w := range c.want {
		c.want[i] = day + ": " + w
	}
	b.want(c.want...)
	n := rep.Total.Rows
	if got := map[string]bool{"updated": n.Updated > 0, "unchanged": n.Unchanged > 0 && n.Updated == 0}; c.counts != "" && !got[c.counts] {
		t.Errorf("counted %+v, want %s", n, c.counts)
	}
}

// TestColumns has, for each row of the table of columns in docs/semantics.md, the default and each option.
func TestColumns(t *testing.T) {
	one := `[{"id":1,"v":1},{"id":2,"v":2}]`
	sec := "timestamp[s, tz=UTC]"
	const textRow = "a text against its declared `char(n)` or `varchar(n)`"
	cases := map[string]columnCase{
		"case and order":             {row: "names", schema: "id bigint, Name string", old: `[{"id":1,"Name":"a"}]`, source: "NAME string, ID bigint", rows: `[{"NAME":"b","ID":1},{"NAME":"c","ID":2}]`, want: []string{"id=1 Name=b", "id=2 Name=c"}},
		"never by position":          {row: "names", old: one, source: "v2 bigint, id bigint", rows: `[{"v2":3,"id":1}]`, err: ErrSchema, text: "column"},
		"columns":                    {row: "only some columns are given", schema: "id bigint, v bigint, w bigint", old: `[{"id":1,"v":1,"w":1}]`, source: "id bigint, v bigint, w bigint", rows: `[{"id":1,"v":9,"w":9},{"id":2,"v":9,"w":9}]`, o: Options{Columns: []string{"V"}}, want: []string{"id=1 v=9 w=1", "id=2 v=9 w=NULL"}},
		"columns, and no others":     {row: "only some columns are given", schema: "id bigint, v bigint, w bigint", old: `[{"id":1,"v":1,"w":1}]`, source: "id bigint, v bigint", rows: `[{"id":1,"v":9},{"id":2,"v":9}]`, o: Options{Columns: []string{"v"}}, want: []string{"id=1 v=9 w=1", "id=2 v=9 w=NULL"}},
		"except-columns":             {row: "only some columns are given", schema: "id bigint, v bigint, w bigint", old: `[{"id":1,"v":1,"w":1}]`, source: "id bigint, v bigint, w bigint", rows: `[{"id":1,"v":9,"w":9}]`, o: Options{ExceptColumns: []string{"w"}}, want: []string{"id=1 v=9 w=1"}},
		"a column nobody has":        {row: "only some columns are given", old: one, source: "id bigint, v bigint", rows: `[{"id":1,"v":9}]`, o: Options{Columns: []string{"nope"}}, err: ErrSchema, text: "column nope", hint: "id, v"},
		"a required column":          {row: "only some columns are given", schema: "id bigint, v bigint, w bigint not null", old: `[{"id":1,"v":1,"w":1}]`, source: "id bigint, v bigint", rows: `[{"id":2,"v":9}]`, o: Options{Columns: []string{"v"}}, err: ErrValue, text: "column w"},
		"null overwrites":            {row: "NULL in the source", old: one, source: "id bigint, v bigint", rows: `[{"id":1,"v":null}]`, want: []string{"id=1 v=NULL", "id=2 v=2"}},
		"keep-null":                  {row: "NULL in the source", old: one, source: "id bigint, v bigint", rows: `[{"id":1,"v":null},{"id":2,"v":3}]`, o: Options{KeepNull: []string{"v"}}, want: []string{"id=1 v=1", "id=2 v=3"}},
		"keep-null of nothing":       {row: "NULL in the source", old: one, source: "id bigint, v bigint", rows: `[{"id":1}]`, o: Options{KeepNull: []string{"x"}}, err: ErrSchema, text: "column x"},
		"missing":                    {row: "a column the source lacks", old: one, source: "id bigint", rows: `[{"id":1}]`, err: ErrSchema, text: "v", hint: "--missing-columns keep"},
		"missing, kept":              {row: "a column the source lacks", old: one, source: "id bigint", rows: `[{"id":1},{"id":3}]`, o: Options{MissingColumns: "keep"}, want: []string{"id=1 v=1", "id=2 v=2", "id=3 v=NULL"}},
		"missing, but a key":         {row: "a column the source lacks", old: one, source: "v bigint", rows: `[{"v":1}]`, o: Options{MissingColumns: "keep"}, err: ErrSchema, text: "column id"},
		"new":                        {row: "a column the table lacks", old: one, source: "id bigint, v bigint, x int", rows: `[{"id":1,"v":1,"x":5}]`, err: ErrSchema, text: "column x", hint: "--new-columns"},
		"new, added":                 {row: "a column the table lacks", old: one, source: "id bigint, v bigint, x int", rows: `[{"id":1,"v":1,"x":5},{"id":3,"v":3,"x":6}]`, o: Options{NewColumns: "add"}, want: []string{"id=1 v=1 x=5", "id=2 v=2 x=NULL", "id=3 v=3 x=6"}},
		"new, ignored":               {row: "a column the table lacks", old: one, source: "id bigint, v bigint, x int", rows: `[{"id":1,"v":4,"x":5}]`, o: Options{NewColumns: "ignore"}, want: []string{"id=1 v=4", "id=2 v=2"}},
		"narrower integer":           {row: "a narrower type in the source", old: one, source: "id int, v tinyint", rows: `[{"id":1,"v":-7}]`, want: []string{"id=1 v=-7", "id=2 v=2"}},
		"unsigned":                   {row: "a narrower type in the source", old: one, source: "id ubigint, v uinteger", rows: `[{"id":1,"v":4294967295}]`, want: []string{"id=1 v=4294967295", "id=2 v=2"}},
		"narrower float":             {row: "a narrower type in the source", schema: "id bigint, v double", old: one, source: "id bigint, v float", rows: `[{"id":1,"v":0.5}]`, want: []string{"id=1 v=0.5", "id=2 v=2"}},
		"narrower decimal":           {row: "a narrower type in the source", schema: "id bigint, v decimal(12,2)", old: `[{"id":1,"v":"1"}]`, source: "id bigint, v decimal(5,1)", rows: `[{"id":1,"v":"1234.5"}]`, want: []string{"id=1 v=1234.5"}},
		"integer as decimal":         {row: "a narrower type in the source", schema: "id bigint, v decimal(12,2)", old: `[{"id":1,"v":"1"}]`, source: "id bigint, v int", rows: `[{"id":1,"v":12}]`, want: []string{"id=1 v=12"}},
		"wider integer":              {row: "a wider type in the source", schema: "id int, v int", old: one, source: "id bigint, v bigint", rows: `[{"id":1,"v":2147483647}]`, want: []string{"id=1 v=2147483647", "id=2 v=2"}},
		"overflow":                   {row: "a wider type in the source", schema: "id bigint, v int", old: one, source: "id bigint, v bigint", rows: `[{"id":1,"v":7},{"id":2,"v":2147483648}]`, err: ErrSchema, text: "at record row 2: value does not fit: 2147483648", hint: "not --cast"},
		"wider decimal":              {row: "a wider type in the source", schema: "id bigint, v decimal(12,2)", old: `[{"id":1,"v":"1"}]`, source: "id bigint, v decimal(30,10)", rows: `[{"id":1,"v":"1234.5600000000"}]`, want: []string{"id=1 v=1234.56"}},
		"digits of a decimal":        {row: "a wider type in the source", schema: "id bigint, v decimal(12,2)", old: `[{"id":1,"v":"1"}]`, source: "id bigint, v decimal(30,10)", rows: `[{"id":1,"v":"1234.5670000000"}]`, err: ErrSchema, text: "1234.567", hint: "not --cast"},
		"decimal too large":          {row: "a wider type in the source", schema: "id bigint, v decimal(4,2)", old: `[{"id":1,"v":"1"}]`, source: "id bigint, v decimal(30,2)", rows: `[{"id":1,"v":"100.00"}]`, err: ErrSchema, text: "100", hint: "not --cast"},
		"double as float":            {row: "a wider type in the source", schema: "id bigint, v float", old: one, source: "id bigint, v double", rows: `[{"id":1,"v":0.1}]`, err: ErrSchema, text: "0.1", hint: "not --cast"},
		"int as double":              {row: "int to double, string to number, date to timestamp", schema: "id bigint, v double", old: one, source: "id bigint, v int", rows: `[{"id":1,"v":7}]`, err: ErrSchema, hint: "--cast 'v:float64'"},
		"int as double, cast":        {row: "int to double, string to number, date to timestamp", schema: "id bigint, v double", old: one, source: "id bigint, v int", rows: `[{"id":1,"v":7}]`, o: Options{Casts: []string{"V:double"}}, want: []string{"id=1 v=7", "id=2 v=2"}},
		"beyond a double's digits":   {row: "int to double, string to number, date to timestamp", schema: "id bigint, v double", old: one, source: "id bigint, v bigint", rows: `[{"id":1,"v":"9007199254740993"}]`, o: Options{Casts: []string{"v:double"}}, err: ErrSchema, text: "9007199254740993", hint: "not --cast"},
		"string as number":           {row: "int to double, string to number, date to timestamp", old: one, source: "id bigint, v string", rows: `[{"id":1,"v":"7"}]`, err: ErrSchema, hint: "--cast"},
		"string as number, cast":     {row: "int to double, string to number, date to timestamp", old: one, source: "id bigint, v string", rows: `[{"id":1,"v":"7"}]`, o: Options{Casts: []string{"v:bigint"}}, want: []string{"id=1 v=7", "id=2 v=2"}},
		"no number, cast":            {row: "int to double, string to number, date to timestamp", old: one, source: "id bigint, v string", rows: `[{"id":1,"v":"7 "}]`, o: Options{Casts: []string{"v:bigint"}}, err: ErrSchema, text: `"7 "`, hint: "not --cast"},
		"date as timestamp":          {row: "int to double, string to number, date to timestamp", schema: "id bigint, v timestamp_ntz", old: `[{"id":1}]`, source: "id bigint, v date", rows: `[{"id":1,"v":"2026-11-20"}]`, err: ErrSchema, hint: "--cast"},
		"date as timestamp, cast":    {row: "int to double, string to number, date to timestamp", schema: "id bigint, v timestamp_ntz", old: `[{"id":1}]`, source: "id bigint, v date", rows: `[{"id":1,"v":"2026-11-20"}]`, o: Options{Casts: []string{"v:timestamp_ntz"}}, want: []string{"id=1 v=2026-11-20 00:00:00Z"}},
		"cast to another type":       {row: "int to double, string to number, date to timestamp", old: one, source: "id bigint, v string", rows: `[{"id":1,"v":"7"}]`, o: Options{Casts: []string{"v:int"}}, err: ErrUsage, text: "column v: the table has it as bigint", hint: "v:bigint"},
		"cast of nothing":            {row: "int to double, string to number, date to timestamp", old: one, source: "id bigint, v bigint", rows: `[{"id":1,"v":7}]`, o: Options{Casts: []string{"nope:int"}}, err: ErrUsage, text: "column nope", hint: "id, v"},
		"finer, exact":               {row: "timestamps of a finer unit than the file's", schema: "id bigint, v timestamp(3)", old: `[{"id":1}]`, source: "id bigint, v timestamp(9)", rows: `[{"id":1,"v":"2026-11-20 01:02:03.004000000Z"}]`, want: []string{"id=1 v=2026-11-20 01:02:03.004Z"}},
		"finer, not exact":           {row: "timestamps of a finer unit than the file's", schema: "id bigint, v timestamp(3)", old: `[{"id":1}]`, source: "id bigint, v timestamp(9)", rows: `[{"id":1,"v":"2026-11-20 01:02:03.004000001Z"}]`, err: ErrSchema, text: "record row 1", hint: "--truncate-timestamps"},
		"finer, cut":                 {row: "timestamps of a finer unit than the file's", schema: "id bigint, v timestamp(3)", old: `[{"id":1}]`, source: "id bigint, v timestamp(9)", rows: `[{"id":1,"v":"1969-12-31 23:59:59.999999999Z"}]`, o: Options{TruncateTimestamps: true}, want: []string{"id=1 v=1969-12-31 23:59:59.999Z"}},
		"coarser":                    {row: "timestamps of a finer unit than the file's", schema: "id bigint, v timestamp(9)", old: `[{"id":1}]`, source: "id bigint, v " + sec, rows: `[{"id":1,"v":"2026-11-20 01:02:03Z"}]`, want: []string{"id=1 v=2026-11-20 01:02:03Z"}},
		"coarser, out of range":      {row: "timestamps of a finer unit than the file's", schema: "id bigint, v timestamp(9)", old: `[{"id":1}]`, source: "id bigint, v " + sec, rows: `[{"id":1,"v":"9999-11-20 01:02:03Z"}]`, err: ErrSchema, text: "record row 1", hint: "not --truncate"},
		"NaN is NaN":                 {row: "NaN, -0.0", schema: "id bigint, v double", old: `[{"id":1,"v":"NaN"}]`, source: "id bigint, v double", rows: `[{"id":1,"v":"NaN"}]`, want: []string{"id=1 v=NaN"}, counts: "unchanged"},
		"-0.0 is not 0.0":            {row: "NaN, -0.0", schema: "id bigint, v double", old: `[{"id":1,"v":0.0}]`, source: "id bigint, v double", rows: `[{"id":1,"v":-0.0}]`, want: []string{"id=1 v=-0"}, counts: "updated"},
		"nested, the same":           {row: "struct, list, map", schema: "id bigint, v struct<a:int,b:array<string>>, m map<string,int>", old: `[{"id":1,"v":{"a":1,"b":["x",null]},"m":[{"key":"k","value":1}]}]`, source: "id bigint, v struct<a:int,b:array<string>>, m map<string,int>", rows: `[{"id":1,"v":{"a":1,"b":["x",null]},"m":[{"key":"k","value":1}]}]`, want: []string{`id=1 v={"a":1,"b":["x",null]} m=[{"key":"k","value":1}]`}, counts: "unchanged"},
		"nested, whole":              {row: "struct, list, map", schema: "id bigint, v struct<a:int,b:array<string>>, m map<string,int>", old: `[{"id":1,"v":{"a":1,"b":["x",null]},"m":[{"key":"k","value":1}]},{"id":2,"v":{"a":2,"b":[]},"m":null}]`, source: "id bigint, v struct<b:array<string>,A:bigint>, m map<string,int>", rows: `[{"id":1,"v":{"A":7,"b":null},"m":[]}]`, want: []string{`id=1 v={"a":7,"b":null} m=[]`, `id=2 v={"a":2,"b":[]} m=NULL`}},
		"a field that is missing":    {row: "struct, list, map", schema: "id bigint, v struct<a:int,b:int>", old: `[{"id":1,"v":{"a":1,"b":1}}]`, source: "id bigint, v struct<a:int>", rows: `[{"id":1,"v":{"a":1}}]`, err: ErrSchema, text: "field b is missing"},
		"a field that is new":        {row: "struct, list, map", schema: "id bigint, v struct<a:int>", old: `[{"id":1,"v":{"a":1}}]`, source: "id bigint, v struct<a:int,b:int>", rows: `[{"id":1,"v":{"a":1,"b":2}}]`, err: ErrSchema, text: "field b is not in"},
		"a key in a struct":          {row: "struct, list, map", schema: "id struct<a:int,b:string>, v bigint", old: `[{"id":{"a":1,"b":"x"},"v":1}]`, source: "id struct<a:int,b:string>, v bigint", rows: `[{"id":{"a":1,"b":"y"},"v":2},{"id":{"a":2,"b":"z"},"v":3}]`, o: Options{Key: []string{"id.a"}}, want: []string{`id={"a":1,"b":"y"} v=2`, `id={"a":2,"b":"z"} v=3`}},
		"a whole struct as key":      {row: "struct, list, map", schema: "id struct<a:int>, v bigint", old: `[{"id":{"a":1},"v":1}]`, source: "id struct<a:int>, v bigint", rows: `[{"id":{"a":1},"v":2}]`, err: ErrSchema, hint: "a.b"},
		"char key, stored stripped":  {row: textRow, schema: "id char(4), v varchar(3)", old: `[{"id":"a","v":"x"}]`, source: "id string, v string", rows: `[{"id":"a  ","v":"y"},{"id":" a","v":"z"}]`, want: []string{"id= a v=z", "id=a v=y"}},
		"char key, stored padded":    {row: textRow, schema: "id char(4), v varchar(3)", old: `[{"id":"a   ","v":"x"}]`, source: "id string, v string", rows: `[{"id":"a","v":"y"}]`, want: []string{"id=a    v=y"}},
		"char key, below blanks":     {row: textRow, schema: "id char(4), v int", old: `[{"id":"a\u0001","v":1},{"id":"a ","v":2}]`, source: "id string, v int", rows: `[{"id":"a","v":3}]`, want: []string{"id=a\x01 v=1", "id=a  v=3"}},
		"char in two keys":           {row: textRow, schema: "id char(4), k char(2), v int", old: `[{"id":"a","k":"b ","v":1},{"id":"ab","k":"","v":2}]`, source: "id string, k string, v int", rows: `[{"id":"a ","k":"b","v":3},{"id":"ab  ","k":"  ","v":4}]`, o: Options{Key: []string{"id", "k"}}, want: []string{"id=a k=b  v=3", "id=ab k= v=4"}},
		"varchar key":                {row: textRow, schema: "id varchar(4), v int", old: `[{"id":"a","v":1}]`, source: "id string, v int", rows: `[{"id":"a ","v":2}]`, want: []string{"id=a  v=2", "id=a v=1"}},
		"char key twice in a source": {row: textRow, schema: "id char(4), v int", old: `[{"id":"a","v":1}]`, source: "id string, v int", rows: `[{"id":"b","v":2},{"id":"b ","v":3}]`, err: ErrDuplicateKey, text: "id=b"},
		"char key, copies":           {row: textRow, schema: "id char(4), v int", old: `[{"id":"a","v":1}]`, source: "id string, v int", rows: `[{"id":"b","v":2},{"id":"b ","v":2}]`, want: []string{"id=a v=1", "id=b v=2"}},
		"char key twice in old":      {row: textRow, schema: "id char(4), v int", old: `[{"id":"a","v":1},{"id":"a ","v":1}]`, source: "id string, v int", rows: `[{"id":"a","v":2}]`, err: ErrDuplicateKey, text: "id=a"},
		"char version, the same":     {row: textRow, schema: "id int, ver char(4), v int", old: `[{"id":1,"ver":"b   ","v":1}]`, source: "id int, ver string, v int", rows: `[{"id":1,"ver":"b","v":2}]`, o: Options{OrderBy: []string{"ver"}}, want: []string{"id=1 ver=b v=2"}},
		"char version, older":        {row: textRow, schema: "id int, ver char(4), v int", old: `[{"id":1,"ver":"b","v":1}]`, source: "id int, ver string, v int", rows: `[{"id":1,"ver":"a   ","v":2}]`, o: Options{OrderBy: []string{"ver"}}, want: []string{"id=1 ver=b v=1"}},
		"char, other blanks":         {row: textRow, schema: "id int, v char(4)", old: `[{"id":1,"v":"x"}]`, source: "id int, v string", rows: `[{"id":1,"v":"x   "}]`, want: []string{"id=1 v=x   "}, counts: "updated"},
		"char, blanks beyond":        {row: textRow, schema: "id int, v char(2)", old: `[{"id":1,"v":"x"}]`, source: "id int, v string", rows: `[{"id":2,"v":"한국   "}]`, want: []string{"id=1 v=x", "id=2 v=한국   "}},
		"char, too long":             {row: textRow, schema: "id int, v char(2)", old: `[{"id":1,"v":"x"}]`, source: "id int, v string", rows: `[{"id":2,"v":"yy"},{"id":1,"v":"한국어 "}]`, err: ErrValue, text: `column v: at record row 2: value does not fit: "한국어" of 3 characters as char(2)`, hint: "char(2)"},
		"varchar, too long":          {row: textRow, schema: "id int, v varchar(2)", old: `[{"id":1,"v":"x"}]`, source: "id int, v string", rows: `[{"id":2,"v":"yy "}]`, err: ErrValue, text: `column v: at record row 1: value does not fit: "yy " of 3 characters as varchar(2)`},
		"char key, too long":         {row: textRow, schema: "id char(2), v int", old: `[{"id":"a","v":1}]`, source: "id string, v int", rows: `[{"id":"abc","v":2}]`, err: ErrValue, text: "column id"},
		"too long, not written":      {row: textRow, schema: "id char(2), v varchar(2)", old: `[{"id":"a","v":"x"}]`, source: "id string, v string", rows: `[{"id":"abc","v":"xyz"},{"id":"a","v":"yy"}]`, o: Options{Mode: Update}, want: []string{"id=a v=yy"}},
		"too long, stale":            {row: textRow, schema: "id int, ver int, v varchar(2)", old: `[{"id":1,"ver":2,"v":"x"}]`, source: "id int, ver int, v string", rows: `[{"id":1,"ver":1,"v":"xyz"},{"id":2,"ver":1,"v":"yy"}]`, o: Options{OrderBy: []string{"ver"}}, want: []string{"id=1 ver=2 v=x", "id=2 ver=1 v=yy"}},
		"too long, left out":         {row: textRow, schema: "id int, v varchar(2), w int", old: `[{"id":1,"v":"x","w":1}]`, source: "id int, v string, w int", rows: `[{"id":1,"v":"xyz","w":2}]`, o: Options{Columns: []string{"w"}}, want: []string{"id=1 v=x w=2"}},
		"too long, appended":         {row: textRow, schema: "id int, v varchar(2)", old: `[{"id":1,"v":"x"}]`, source: "id int, v string", rows: `[{"id":1,"v":"xyz"}]`, o: Options{Mode: Append}, err: ErrValue, text: "varchar(2)"},
		"local against instants":     {row: "timestamps with a zone and without", schema: "id bigint, v timestamp", old: `[{"id":1}]`, source: "id bigint, v timestamp_ntz", rows: `[{"id":1,"v":"2026-11-20 09:00:00"}]`, err: ErrSchema, text: "column v", hint: "--source-timezone"},
		"instants against local":     {row: "timestamps with a zone and without", schema: "id bigint, v timestamp_ntz", old: `[{"id":1}]`, source: "id bigint, v timestamp", rows: `[{"id":1,"v":"2026-11-20 00:00:00Z"}]`, err: ErrSchema, text: "column v", hint: "--source-timezone"},
		"local times of a zone":      {row: "timestamps with a zone and without", schema: "id bigint, v timestamp", old: `[{"id":1}]`, source: "id bigint, v timestamp_ntz", rows: `[{"id":1,"v":"2026-11-20 09:00:00"}]`, o: Options{SourceTimezone: "Asia/Seoul"}, want: []string{"id=1 v=2026-11-20 00:00:00Z"}},
		"instants in a zone":         {row: "timestamps with a zone and without", schema: "id bigint, v timestamp_ntz", old: `[{"id":1}]`, source: "id bigint, v timestamp", rows: `[{"id":1,"v":"2026-11-20 00:00:00Z"}]`, o: Options{SourceTimezone: "Asia/Seoul"}, want: []string{"id=1 v=2026-11-20 09:00:00Z"}},
		"delete-when of nothing":     {row: "names", old: one, source: "id bigint, v bigint", rows: `[{"id":1,"v":1}]`, o: Options{DeleteWhen: "nope"}, err: ErrSchema, text: "column nope", hint: "the source's columns: id, v"},
	}
	missing := documented(t, "Columns")
	delete(missing, "files of one partition with different columns or types") // TestFilesOfDifferentSchemas
	for name, c := range cases {
		t.Run(name, c.run)
		delete(missing, c.row)
	}
	for row := range missing {
		t.Errorf("no case for the row %q of docs/semantics.md", row)
	}
}

// TestAmbiguousColumns: two columns of a source whose names differ only in case.
func TestAmbiguousColumns(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	before := b.snapshot()
	fields := []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String}, {Name: "NAME", Type: arrow.BinaryTypes.String}}
	_, err := b.open().Upsert(context.Background(), recordsOf(t, arrow.NewSchema(fields, nil), `[{"id":1,"name":"a","NAME":"b"}]`),
		Options{Key: []string{"id"}, Partitions: []string{"dt=2026-11-20"}})
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "differ only in case") || b.snapshot() != before {
		t.Error(err)
	}
}

// TestNewColumnsOfText: a new column of text takes the type that --cast names.
func TestNewColumnsOfText(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-20")
	before := b.snapshot()
	o := Options{NewColumns: "add", Casts: []string{"amount:decimal(10,2)"}}
	if _, err := b.try(o, b.write("day.csv", "id,name,dt,amount", "1,ann,2026-11-20,much")); !errors.Is(err, ErrValue) || b.snapshot() != before {
		t.Error(err)
	}
	b.upsert(o, b.write("day.csv", "id,name,dt,amount", "1,ann,2026-11-20,7.25"))
	b.upsert(Options{}, b.write("day.ndjson", `{"id":2,"name":"bob","dt":"2026-11-20","amount":1.5}`))
	b.want("dt=2026-11-20: id=1 name=ann amount=7.25", "dt=2026-11-20: id=2 name=bob amount=1.5")
}

// TestFilesOfDifferentSchemas: a partition whose files have other columns, order, names' case and types is read by name;
// each file keeps its own, but where a value needs more.
func TestFilesOfDifferentSchemas(t *testing.T) {
	b := newBench(t)
	b.upsert(Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, v int, w string", Mode: Append}, b.write("a.csv", "id,v,w,dt", "1,1,x,2026-11-20", "2,2,y,2026-11-20"))
	other := &bench{t: t, dir: t.TempDir()}
	other.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "V bigint, ID int, extra double", Mode: Append}, other.write("b.csv", "V,ID,extra", "3000000000,3,0.5", "4,4,"))
	copyFile(t, onlyParquet(t, other.root()), b.path("orders/dt=2026-11-20/z-other.parquet"))
	wide, err := ParseSchema("id bigint, v bigint, w string")
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.open().Upsert(context.Background(), recordsOf(t, wide, `[{"id":1,"v":5000000000,"w":"xx"},{"id":4,"v":7,"w":"why"}]`),
		Options{Key: []string{"id"}, MissingColumns: "keep", Partitions: []string{"dt=2026-11-20"}})
	if err != nil {
		t.Fatal(err)
	}
	b.want("dt=2026-11-20: V=3000000000 ID=3 extra=0.5 w=NULL", "dt=2026-11-20: V=7 ID=4 extra=NULL w=why",
		"dt=2026-11-20: id=1 v=5000000000 w=xx", "dt=2026-11-20: id=2 v=2 w=y")
	// Types of which neither holds the other's values are an error that names the column.
	third := &bench{t: t, dir: t.TempDir()}
	third.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "id bigint, v string", Mode: Append}, third.write("c.csv", "id,v", "9,nine"))
	copyFile(t, onlyParquet(t, third.root()), b.path("orders/dt=2026-11-20/z-third.parquet"))
	before := b.snapshot()
	_, err = b.try(Options{MissingColumns: "keep"}, b.write("day.csv", "id,v,dt", "1,5,2026-11-20"))
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "z-third.parquet: column v: the partition's files have it as bigint and as string") || b.snapshot() != before {
		t.Error(err)
	}
}

// TestColumnOfTheFileThatGoes: where the only file with a column, or with its wider type, loses all rows, it stays
// without rows: the next rows bring that column again.
func TestColumnOfTheFileThatGoes(t *testing.T) {
	day := []string{"dt=2026-11-20"}
	for name, c := range map[string]struct{ kept, left string }{
		"column": {"id bigint", "id=1"},
		"type":   {"id bigint, v int", "id=1 v=NULL"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.upsert(Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: c.kept, Mode: Append, MissingColumns: "keep"}, b.write("a.csv", "id,dt", "1,2026-11-20"))
			if _, err := b.open().SetConfig(context.Background(), map[string]string{"schema": ""}); err != nil {
				t.Fatal(err)
			}
			other := &bench{t: t, dir: t.TempDir()}
			other.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "id bigint, v bigint", Mode: Append}, other.write("b.csv", "id,v", "2,3000000000"))
			copyFile(t, onlyParquet(t, other.root()), b.path("orders/dt=2026-11-20/z.parquet"))
			rep := b.upsert(Options{Mode: Delete, Partitions: day}, b.write("gone.csv", "id", "2"))
			b.want("dt=2026-11-20: " + c.left)
			if files := rep.Partitions[0].Files; files.Before != 2 || files.After != 2 {
				t.Errorf("%+v", files)
			}
			b.upsert(Options{Partitions: day}, b.write("again.csv", "id,v", "3,4000000000"))
			b.want("dt=2026-11-20: "+c.left, "dt=2026-11-20: id=3 v=4000000000")
		})
	}
}

// TestNarrowFiles: a file's integers may be of fewer bits than Parquet stores them in. A value that needs more widens
// the column in that file.
func TestNarrowFiles(t *testing.T) {
	for narrow, value := range map[string]string{"tinyint": "400", "smallint": "-70000", "utinyint": "-1", "usmallint": "70000", "uinteger": "-5"} {
		b := newBench(t)
		wide := "int"
		if narrow == "uinteger" {
			wide = "bigint" // holds all of them
		}
		b.upsert(Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, v " + narrow, Mode: Append}, b.write("a.csv", "id,v,dt", "1,1,2026-11-20", "2,2,2026-11-20"))
		if _, err := b.open().SetConfig(context.Background(), map[string]string{"schema": ""}); err != nil {
			t.Fatal(err)
		}
		other := &bench{t: t, dir: t.TempDir()}
		other.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "id bigint, v " + wide, Mode: Append}, other.write("b.csv", "id,v", "9,9"))
		copyFile(t, onlyParquet(t, other.root()), b.path("orders/dt=2026-11-20/z.parquet"))
		s, err := ParseSchema("id bigint, v " + wide)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.open().Upsert(context.Background(), recordsOf(t, s, `[{"id":1,"v":`+value+`},{"id":3,"v":`+value+`}]`), Options{Key: []string{"id"}, Partitions: []string{"dt=2026-11-20"}})
		if errors.Is(err, ErrSchema) || errors.Is(err, ErrValue) {
			continue // no type holds both
		}
		if err != nil {
			t.Fatalf("%s: %v", narrow, err)
		}
		b.want("dt=2026-11-20: id=1 v="+value, "dt=2026-11-20: id=2 v=2", "dt=2026-11-20: id=3 v="+value, "dt=2026-11-20: id=9 v=9")
	}
}

// TestKeysOfDifferentTypes: files of a partition may have the key in milliseconds and in microseconds, or as float and as
// double. Each keeps its type until it has to take a value that it does not hold.
func TestKeysOfDifferentTypes(t *testing.T) {
	for _, c := range []struct {
		narrow, wide string
		rows         []string // a row of the file with the narrow type, one of the other, and two of the source that meet them
		want         []string
	}{
		{"timestamp_ntz(3)", "timestamp_ntz", []string{"2026-11-20 10:00:00.001,2026-11-20 10:00:00.001", "2026-11-20 10:00:00.000003,2026-11-20 10:00:00.000003",
			"2026-11-20 10:00:00.001,2026-11-20 11:00:00.000007,2026-11-20", "2026-11-20 10:00:00.000003,2026-11-20 12:00:00,2026-11-20"},
			[]string{"k=2026-11-20 10:00:00.000003Z v=2026-11-20 12:00:00Z", "k=2026-11-20 10:00:00.001Z v=2026-11-20 11:00:00.000007Z"}},
		{"float", "double", []string{"1.5,2.5", "0.1,0.2", "1.5,0.3,2026-11-20", "0.1,7,2026-11-20"}, []string{"k=0.1 v=7", "k=1.5 v=0.3"}},
		{"float", "double", []string{"NaN,-0", "-0,1", "0,1.1,2026-11-20", "NaN,0.3,2026-11-20"}, []string{"k=0 v=1.1", "k=NaN v=0.3"}},
	} {
		b := newBench(t)
		for i, typ := range []string{c.narrow, c.wide} {
			other := &bench{t: t, dir: t.TempDir()}
			other.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "k " + typ + ", v " + typ, Mode: Append}, other.write("a.csv", "k,v", c.rows[i]))
			if err := os.MkdirAll(b.path("orders/dt=2026-11-20"), 0o755); err != nil {
				t.Fatal(err)
			}
			copyFile(t, onlyParquet(t, other.root()), b.path(fmt.Sprintf("orders/dt=2026-11-20/part-%d.parquet", i)))
		}
		for _, orderBy := range [][]string{nil, {"k"}} {
			rep := b.upsert(Options{Key: []string{"k"}, OrderBy: orderBy, AllowFloatKeys: true}, b.write("day.csv", append([]string{"k,v,dt"}, c.rows[2:]...)...))
			if orderBy == nil && (rep.Total.Rows.Updated != 2 || rep.Total.Rows.Inserted != 0) {
				t.Errorf("%s: %+v", c.narrow, rep.Total.Rows)
			}
			if strings.Contains(c.rows[0], "NaN") {
				break // no version
			}
		}
		b.want("dt=2026-11-20: "+c.want[0], "dt=2026-11-20: "+c.want[1])
	}
}
