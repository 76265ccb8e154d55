package partition

import (
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
)

// Each line is a file's type, a declared one, and whether readers of the second read the first.
func TestFits(t *testing.T) {
	const cases = `
int | int | yes
int | bigint | yes
int | tinyint | yes
int | smallint | yes
tinyint | int | yes
smallint | tinyint | no
bigint | int | no
bigint | decimal(20,0) | no
int | double | no
int | string | no
utinyint | smallint | yes
uinteger | int | no
uinteger | bigint | yes
ubigint | bigint | no
float | double | yes
double | float | no
decimal(10,2) | decimal(12,2) | yes
decimal(12,2) | decimal(10,2) | no
decimal(10,2) | decimal(12,4) | no
decimal(10,2) | double | no
string | binary | yes
binary | string | yes
string | int | no
date | timestamp | no
date | string | no
timestamp(3) | timestamp | yes
timestamp_ntz(9) | timestamp | yes
boolean | int | no
array<int> | array<bigint> | yes
array<int> | array<string> | no
array<int> | int | no
array<int> | map<int,int> | no
map<string,int> | map<string,bigint> | yes
map<string,int> | map<int,int> | no
map<string,bigint> | map<string,int> | no
struct<a:int,b:string> | struct<B:string,a:bigint,c:int> | yes
struct<a:int,b:string> | struct<a:int> | yes
struct<a:string> | struct<a:int> | no
struct<a:int> | string | no
array<struct<a:array<bigint>>> | array<struct<a:array<int>>> | no`
	for line := range strings.SplitSeq(strings.TrimSpace(cases), "\n") {
		c := strings.Split(line, " | ")
		file, err := ParseType(c[0])
		if err != nil {
			t.Fatal(err)
		}
		told, err := ParseType(c[1])
		if err != nil {
			t.Fatal(err)
		}
		if fits(file, told) != (c[2] == "yes") {
			t.Error(line)
		}
	}
}

func schemaOf(t *testing.T, text string) *arrow.Schema {
	t.Helper()
	s, err := ParseSchema(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The schema of a partition is that of its files, in the wider of two types, and with what they lack.
func TestReadable(t *testing.T) {
	for _, c := range []struct{ files, declared, want, refused string }{
		{"ID bigint, Name string", "id bigint, name varchar(3), more date", "ID bigint, Name varchar(3), more date", ""},
		{"a int, b float, c decimal(8,2)", "c decimal(10,2), b double, a bigint", "a bigint, b double, c decimal(10,2)", ""},
		{"a int, hidden string", "a tinyint", "a int, hidden string", ""},
		{"a string", "a int", "", "a: the files have it as string and the metastore as int"},
		{"a bigint, A bigint", "a bigint", "", "differ only in case"},
	} {
		fields := []arrow.Field{}
		for part := range strings.SplitSeq(c.files, ", ") {
			fields = append(fields, schemaOf(t, part).Fields()...)
		}
		s, err := readable(arrow.NewSchema(fields, nil), schemaOf(t, c.declared))
		switch {
		case c.refused != "":
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s as %s: %v", c.files, c.declared, err)
			}
		case err != nil || FormatSchema(s) != FormatSchema(schemaOf(t, c.want)):
			t.Errorf("%s as %s: %v, %v", c.files, c.declared, s, err)
		}
	}
}

func TestInPlace(t *testing.T) {
	declared := schemaOf(t, "a int, b int")
	for files, says := range map[string]string{"a int, B int": "", "a int": "column 2 of the file is none, and of the metastore b",
		"b int, a int": "column 1 of the file is b", "a int, b int, c int": "column 3 of the file is c, and of the metastore none"} {
		err := inPlace(schemaOf(t, files), declared, "x.parquet")
		if (err == nil) != (says == "") || err != nil && (!strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "x.parquet")) {
			t.Errorf("%s: %v", files, err)
		}
	}
}

func TestShared(t *testing.T) {
	r := &registered{folders: map[string]string{"dt=1": "/t/a", "dt=2": "/t/a", "dt=3": "/t/a-b", "dt=4": "/t/c", "dt=5": "/t/c/d/e", "dt=6": "/t/c/f", "dt=7": "/t/cc"}}
	got := r.shared()
	for _, p := range []string{"dt=1", "dt=2", "dt=4", "dt=5", "dt=6"} {
		if got[p] == "" {
			t.Errorf("%s shares its folder, and nobody says so: %v", p, got)
		}
	}
	if len(got) != 5 || got["dt=5"] != "dt=4" || got["dt=1"] != "dt=2" {
		t.Error(got)
	}
}
