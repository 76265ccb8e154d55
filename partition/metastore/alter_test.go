package metastore

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage/swap"
)

// sparkTable are the parameters that Spark gives the table of orders.
const sparkFields = `{"name":"Order_ID","type":"long","nullable":false,"metadata":{"x":{"deep":[1,2]}}},
{"name":"Amount","type":"decimal(12,2)","nullable":true,"metadata":{"comment":"of the order"}},
{"name":"note","type":"string","nullable":true,"metadata":{"__CHAR_VARCHAR_TYPE_STRING":"varchar(20)"}},
{"name":"dt","type":"date","nullable":true,"metadata":{}},{"name":"HR","type":"integer","nullable":true,"metadata":{}}`

func sparkTable(n *NewTable) {
	n.Parameters = map[string]string{sparkProvider: "parquet", sparkPartitions: "catalog", sparkSchema: `{"type":"struct","fields":[` + sparkFields + `]}`}
}

func TestAddColumns(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t, sparkTable)
		list := pointers(table, 3)
		point(t, s.Registry(table, RegistryOptions{}), list)
		fresh := []Column{{Name: "Tip", Type: "timestamp_ntz(9)"}, {Name: "tags", Type: "array<struct<`a b`:int>>", Comment: "of shops"}, {Name: "note", Type: "varchar(20)"}}
		look := func() map[string]swap.Registered {
			t.Helper()
			seen, err := s.Registry(table, RegistryOptions{}).Look(t.Context(), names(list))
			if err != nil {
				t.Fatal(err)
			}
			return seen
		}
		for range 2 {
			before := look()
			stamps, err := s.AddColumns(t.Context(), s.database, table.Name, fresh, names(list[:2]))
			if err != nil {
				t.Fatal(err)
			}
			after := look()
			for _, p := range names(list[:2]) {
				if want := (swap.Restamp{Was: before[p].Stamp, Is: after[p].Stamp}); stamps[p] != want || len(stamps) != 2 {
					t.Errorf("%s: the stamps are said to be %v, not %v", p, stamps, want)
				}
			}
			want := []Column{{Name: "Order_ID", Type: "bigint"}, {Name: "Amount", Type: "decimal(12,2)", Comment: "of the order"}, {Name: "note", Type: "varchar(20)"},
				{Name: "Tip", Type: "timestamp"}, {Name: "tags", Type: "array<struct<a b:int>>", Comment: "of shops"}}
			now := s.read(t, table.Name)
			if !slices.Equal(now.Columns, want) {
				t.Errorf("the table has %v", now.Columns)
			}
			for i, n := range []int{5, 5, 3} {
				if p := s.partition(t, table, list[i].Partition); len(p.Columns) != n {
					t.Errorf("%s has %v", p.Name, p.Columns)
				}
			}
		}
		_, err := s.AddColumns(t.Context(), s.database, table.Name, []Column{{Name: "more", Type: "int"}, {Name: "amount", Type: "int"}}, nil)
		if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "decimal(12,2)") {
			t.Error(err)
		}
		if _, err := s.AddColumns(t.Context(), s.database, table.Name, []Column{{Name: "DT", Type: "date"}}, nil); !errors.Is(err, ErrSchema) {
			t.Error(err)
		}
		if now := s.read(t, table.Name); len(now.Columns) != 5 {
			t.Errorf("columns were added beside one that does not fit: %v", now.Columns)
		}
	})
}

// Partitions get the table's list of columns, and keep what only they have; what is as in the table stays as it is.
func TestFollowing(t *testing.T) {
	table := fields([]Column{{Name: "a", Type: "bigint", Comment: "new"}, {Name: "b", Type: "varchar(9)"}, {Name: "c", Type: "decimal(10,0)"}})
	for name, c := range map[string]struct{ own, want string }{
		"the same":       {"A bigint, b varchar(9), c decimal", ""},
		"longer":         {"a bigint, b varchar(9), c decimal, d int", ""},
		"narrower":       {"a int own, b varchar(3), c decimal", "a bigint own, b varchar(9), c decimal"},
		"missing":        {"a bigint own, c decimal, d int", "a bigint own, b varchar(9), c decimal(10,0), d int"},
		"out of place":   {"b varchar(9), a bigint, c decimal", "a bigint new, b varchar(9), c decimal"},
		"nothing":        {"", "a bigint new, b varchar(9), c decimal(10,0)"},
		"of other words": {"a unknown, b varchar(9), c decimal", "a bigint new, b varchar(9), c decimal"},
	} {
		got, changed := following(written(c.own), table)
		if changed != (c.want != "") {
			t.Errorf("%s: changed %t", name, changed)
		}
		if want := cmp.Or(c.want, c.own); listed(got) != want {
			t.Errorf("%s: %s, not %s", name, listed(got), want)
		}
	}
}

// written reads "a int comment, b int".
func written(text string) (out []*hmsapi.FieldSchema) {
	for column := range strings.SplitSeq(text, ", ") {
		if words := strings.Fields(column); len(words) > 1 {
			f := &hmsapi.FieldSchema{Name: &words[0], Type: &words[1]}
			if len(words) > 2 {
				f.Comment = &words[2]
			}
			out = append(out, f)
		}
	}
	return out
}

func listed(list []*hmsapi.FieldSchema) string {
	var out []string
	for _, f := range list {
		out = append(out, strings.TrimSpace(f.GetName()+" "+f.GetType()+" "+f.GetComment()))
	}
	return strings.Join(out, ", ")
}

// Columns go into Spark's schema before those of partitions, and what stands there stays.
func TestSparkSchema(t *testing.T) {
	n := NewTable{}
	sparkTable(&n)
	s, err := sparkSchemaOf(n.Parameters)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.add([]Column{{Name: "t", Type: "tinyint"}, {Name: "m", Type: "map<string,struct<a:char(3)>>"}, {Name: "c", Type: "char(3)", Comment: "x"}}, 2); err != nil {
		t.Fatal(err)
	}
	for _, parts := range []bool{false, true} {
		parameters := map[string]string{"other": "1"}
		if parts { // as it is stored where it is long
			parameters = map[string]string{sparkParts: "9", sparkPart + "8": "old"}
			for range 60 {
				s.Fields = slices.Insert(s.Fields, 0, sparkField{Name: "größe", Type: json.RawMessage(`"string"`), Metadata: json.RawMessage(`{"comment":"` + strings.Repeat("ü", 80) + `"}`)})
			}
		}
		if err := s.store(parameters); err != nil {
			t.Fatal(err)
		}
		if _, ok := parameters[sparkSchema]; ok == parts {
			t.Error("stored in the wrong form")
		}
		for name, v := range parameters {
			if v == "old" || len([]rune(v)) > sparkPartLength {
				t.Errorf("%s has %d characters", name, len([]rune(v)))
			}
		}
		again, err := sparkSchemaOf(parameters)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`{"name":"Order_ID","type":"long","nullable":false,"metadata":{"x":{"deep":[1,2]}}}`,
			`{"name":"t","type":"byte","nullable":true,"metadata":{}}`,
			`"valueType":{"fields":[{"metadata":{},"name":"a","nullable":true,"type":"string"}],"type":"struct"}`,
			`{"name":"c","type":"string","nullable":true,"metadata":{"__CHAR_VARCHAR_TYPE_STRING":"char(3)","comment":"x"}},{"name":"dt"`,
		} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %s in %s", want, text)
			}
		}
	}
}

// Where Spark's schema and the metastore's columns differ, the metastore's count.
func TestSparkNames(t *testing.T) {
	for change, want := range map[string]string{"": "Order_ID", `"name":"Amount"`: "order_id", `"type":"struct"`: "order_id"} {
		n := NewTable{}
		sparkTable(&n)
		raw := plainTable()
		raw.PartitionKeys = fields([]Column{{Name: "dt", Type: "date"}, {Name: "hr", Type: "int"}})
		raw.Parameters = n.Parameters
		if change != "" {
			raw.Parameters[sparkSchema] = strings.Replace(raw.Parameters[sparkSchema], change, `"name":"other"`, 1)
		}
		if change == `"type":"struct"` {
			raw.Parameters[sparkSchema] = "{"
		}
		// Partitions are called as the metastore calls them, which is how they are found.
		if table := newTable(raw); table.Columns[0].Name != want || table.PartitionBy[1].Name != "hr" {
			t.Errorf("%s: %v by %v", change, table.Columns, table.PartitionBy)
		}
	}
}

func TestSetParameters(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t)
		set := func(set map[string]string) map[string]string {
			t.Helper()
			if err := s.SetParameters(t.Context(), s.database, table.Name, set); err != nil {
				t.Fatal(err)
			}
			return s.read(t, table.Name).Parameters
		}
		holds(t, set(map[string]string{ParamKey: "order_id", ParamOrderBy: "amount desc", "numRows": "7"}), map[string]string{ParamKey: "order_id", ParamOrderBy: "amount desc", "numRows": "7", "EXTERNAL": "TRUE"})
		before := s.read(t, table.Name).Parameters
		after := set(map[string]string{ParamKey: "", "absent": ""})
		holds(t, after, map[string]string{ParamKey: "", ParamOrderBy: "amount desc", "EXTERNAL": "TRUE"})
		delete(before, ParamKey)
		if !maps.Equal(before, after) {
			t.Errorf("%v became %v", before, after)
		}
	})
}

func TestTablesThatAreNotThere(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		s.create(t)
		for name, hint := range map[string]string{s.database + ".order": "orders", "nowhere.orders": "default"} {
			database, table, err := parseName(name)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Table(t.Context(), database, table)
			var e *Error
			if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &e) || !strings.Contains(err.Error(), name) || !strings.Contains(e.Hint, hint) {
				t.Errorf("%s: %v (%v)", name, err, e)
			}
		}
		if err := s.CreateTable(t.Context(), NewTable{Database: s.database, Name: "orders", Location: s.location + "/orders", Columns: orderColumns}); !errors.Is(err, fs.ErrExist) {
			t.Errorf("created twice: %v", err)
		}
	})
}

// What a user may not do is told as that.
func TestDenied(t *testing.T) {
	s := serve(t, address(t, "3.1"))
	table := s.create(t)
	if err := s.CreateTable(t.Context(), NewTable{Database: s.database, Name: "closed", Location: s.location + "/closed", Columns: orderColumns}); err != nil {
		t.Fatal(err)
	}
	stranger := dial(t, s.c.Hosts[0], func(c *Config) { c.User = "stranger" })
	err := stranger.AddPartitions(t.Context(), table, map[string]string{"dt=1999-01-01/hr=1": s.location + "/closed/dt"})
	var e *Error
	if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &e) || e.Hint == "" {
		t.Error(err)
	}
}
