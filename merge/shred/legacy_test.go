package shred

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// tree is a schema in short: name, repetition (r, o, *), annotation and children.
type tree struct {
	name string
	rep  byte
	kind column.Kind
	kids []tree
}

func (x tree) build(s *column.Schema, parent *column.Node) *column.Node {
	r := map[byte]format.FieldRepetitionType{'r': format.Required, 'o': format.Optional, '*': format.Repeated}[x.rep]
	n := node(x.name, r, parent)
	n.Annotation.Kind = x.kind
	for _, k := range x.kids {
		n.Children = append(n.Children, k.build(s, n))
	}
	if x.kids == nil {
		n.Leaf = &column.Leaf{Index: len(s.Leaves), Type: format.Int32, Width: 4, MaxDef: n.MaxDef, MaxRep: n.MaxRep, Annotation: n.Annotation}
		if x.kind == column.String {
			n.Leaf.Type, n.Leaf.Width = format.ByteArray, 0
		}
		s.Leaves = append(s.Leaves, n.Leaf)
	}
	return n
}

func (x tree) schema() *column.Schema {
	s := &column.Schema{Root: &column.Node{}}
	s.Root.Children = []*column.Node{x.build(s, s.Root)}
	return s
}

// TestListLayouts: the examples of parquet-format's LogicalTypes.md, and the rows each layout can hold.
func TestListLayouts(t *testing.T) {
	leaf := func(name string, rep byte) tree { return tree{name: name, rep: rep} }
	cases := []struct {
		name string
		tree tree
		want string
		rows string
	}{
		{"three levels", tree{"l", 'o', column.List, []tree{{"list", '*', 0, []tree{leaf("element", 'o')}}}},
			"list<element: int32, nullable>", `[[1,null],null,[],[2]]`},
		{"three levels, required", tree{"l", 'r', column.List, []tree{{"list", '*', 0, []tree{leaf("element", 'r')}}}},
			"list<element: int32>", `[[1,7],[],[2]]`},
		{"other names (Hive)", tree{"l", 'o', column.List, []tree{{"bag", '*', 0, []tree{leaf("array_element", 'o')}}}},
			"list<element: int32, nullable>", `[[null],null]`},
		{"two levels, no group", tree{"l", 'o', column.List, []tree{leaf("element", '*')}},
			"list<element: int32>", `[[1,2],null,[]]`},
		{"two levels, several fields", tree{"l", 'o', column.List, []tree{{"element", '*', 0, []tree{leaf("a", 'r'), leaf("b", 'o')}}}},
			"list<element: struct<a: int32, b: int32>>", `[[{"a":1,"b":null}],[],null]`},
		{"two levels, array", tree{"l", 'o', column.List, []tree{{"array", '*', 0, []tree{leaf("a", 'r')}}}},
			"list<element: struct<a: int32>>", `[[{"a":1},{"a":2}],null]`},
		{"two levels, _tuple (Thrift)", tree{"l", 'o', column.List, []tree{{"l_tuple", '*', 0, []tree{leaf("a", 'o')}}}},
			"list<element: struct<a: int32>>", `[[{"a":1},{"a":null}],null]`},
		{"two levels, repeated inside", tree{"l", 'o', column.List, []tree{{"list", '*', 0, []tree{leaf("a", '*')}}}},
			"list<element: struct<a: list<element: int32>>>", `[[{"a":[1,2]},{"a":[]}],[]]`},
		{"two levels of two levels", tree{"l", 'o', column.List, []tree{{"array", '*', column.List, []tree{leaf("array", '*')}}}},
			"list<element: list<element: int32>>", `[[[1],[]],[],null]`},
		{"no annotation", leaf("l", '*'), "list<element: int32>", `[[1,2],[],[3]]`},
		{"no annotation, group", tree{"l", '*', 0, []tree{leaf("a", 'o')}},
			"list<element: struct<a: int32>>", `[[{"a":null}],[]]`},
		{"map", tree{"m", 'o', column.Map, []tree{{"key_value", '*', 0, []tree{{"key", 'r', column.String, nil}, leaf("value", 'o')}}}},
			"map<utf8, int32, items_nullable>", `[[{"key":"a","value":1},{"key":"b","value":null}],null,[]]`},
		{"map of old Hive", tree{"m", 'o', column.MapKeyValue, []tree{{"map", '*', column.MapKeyValue, []tree{{"key", 'r', column.String, nil}, leaf("value", 'r')}}}},
			"map<utf8, int32, items_non_nullable>", `[[{"key":"a","value":1}],null]`},
		{"map without values", tree{"m", 'o', column.Map, []tree{{"key_value", '*', 0, []tree{{"key", 'r', column.String, nil}}}}},
			"list<element: utf8>", `[["a","b"],null]`},
		{"LIST on a struct", tree{"s", 'o', column.List, []tree{leaf("a", 'o'), leaf("b", 'o')}},
			"struct<a: int32, b: int32>", `[{"a":1,"b":2},null]`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := c.tree.schema()
			f, err := ArrowField(s.Root.Children[0])
			if err != nil {
				t.Fatal(err)
			}
			if f.Type.String() != c.want {
				t.Errorf("type %s, want %s", f.Type, c.want)
			}
			arr, _, err := array.FromJSON(memory.DefaultAllocator, f.Type, strings.NewReader(c.rows))
			if err != nil {
				t.Fatal(err)
			}
			leaves := mustShred(t, arr, nil, s)
			if back := mustAssemble(t, s, leaves, arr.Len()); !array.Equal(back, arr) {
				t.Errorf("got %v, want %v", back, arr)
			}
		})
	}
}

// TestLevels holds the levels of one nested column against those of the Dremel paper's own example:
// Name.Language.Code of its two records.
func TestLevels(t *testing.T) {
	s := tree{"Name", '*', 0, []tree{{"Language", '*', 0, []tree{{"Code", 'r', column.String, nil}}}}}.schema()
	f, err := ArrowField(s.Root.Children[0])
	if err != nil {
		t.Fatal(err)
	}
	arr, _, err := array.FromJSON(memory.DefaultAllocator, f.Type, strings.NewReader(`[
		[{"Language":[{"Code":"en-us"},{"Code":"en"}]},{"Language":[]},{"Language":[{"Code":"en-gb"}]}],
		[{"Language":[]}]]`))
	if err != nil {
		t.Fatal(err)
	}
	c := mustShred(t, arr, nil, s)[0]
	rep, def := []uint8{0, 2, 1, 1, 0}, []uint8{2, 2, 1, 2, 1}
	if string(c.Rep) != string(rep) || string(c.Def) != string(def) {
		t.Errorf("repetition %v, want %v; definition %v, want %v", c.Rep, rep, c.Def, def)
	}
}

func TestSchemaErrors(t *testing.T) {
	leaf := func(p format.Type, width int, a column.Annotation) *column.Schema {
		s := tree{name: "x", rep: 'o'}.schema()
		*s.Leaves[0] = column.Leaf{Type: p, Width: width, MaxDef: 1, Annotation: a}
		return s
	}
	for name, s := range map[string]*column.Schema{
		"date on INT64":       leaf(format.Int64, 8, column.Annotation{Kind: column.Date}),
		"timestamp on INT32":  leaf(format.Int32, 4, column.Annotation{Kind: column.Timestamp, Unit: 1e3}),
		"decimal without p":   leaf(format.Int32, 4, column.Annotation{Kind: column.Decimal}),
		"decimal too wide":    leaf(format.ByteArray, 0, column.Annotation{Kind: column.Decimal, Precision: 77}),
		"decimal on DOUBLE":   leaf(format.Double, 8, column.Annotation{Kind: column.Decimal, Precision: 5}),
		"scale above p":       leaf(format.Int64, 8, column.Annotation{Kind: column.Decimal, Precision: 5, Scale: 6}),
		"int of 7 bits":       leaf(format.Int32, 4, column.Annotation{Kind: column.Int, Bits: 7}),
		"int64 on INT32":      leaf(format.Int32, 4, column.Annotation{Kind: column.Int, Bits: 64}),
		"float16 of 3 bytes":  leaf(format.FixedLenByteArray, 3, column.Annotation{Kind: column.Float16}),
		"group without field": {Root: &column.Node{Children: []*column.Node{{Name: "g"}}}},
	} {
		if _, err := ArrowSchema(s); !errors.Is(err, ErrType) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, typ := range []arrow.DataType{arrow.FixedWidthTypes.Duration_s, arrow.FixedWidthTypes.MonthInterval,
		arrow.StructOf(), &arrow.Decimal128Type{Precision: 5, Scale: -1}} {
		if _, err := ParquetSchema(arrow.NewSchema([]arrow.Field{{Name: "x", Type: typ}}, nil)); !errors.Is(err, ErrType) {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

// TestAssembleRefusesLevels: levels that do not form records, as a corrupt file may hold them.
func TestAssembleRefusesLevels(t *testing.T) {
	lists := tree{"l", 'o', column.List, []tree{{"list", '*', 0, []tree{{name: "element", rep: 'o'}}}}}.schema()
	pair := tree{"s", 'o', 0, []tree{{"a", '*', 0, nil}, {"b", '*', 0, nil}}}.schema()
	ints := func(n int) column.Vector { return column.Vector{Width: 4, Fixed: make([]byte, 4*n)} }
	slots := func(rep, def []uint8, max uint8) *column.Column {
		return &column.Column{Slots: len(rep), MaxDef: max, Rep: rep, Def: def, Values: ints(len(rep))}
	}
	cases := []struct {
		name   string
		schema *column.Schema
		leaves []*column.Column
		rows   int
	}{
		{"no start", lists, []*column.Column{slots([]uint8{1}, []uint8{3}, 3)}, 1},
		{"too few", lists, []*column.Column{slots([]uint8{0}, []uint8{3}, 3)}, 2},
		{"too many", lists, []*column.Column{slots([]uint8{0, 0}, []uint8{3, 3}, 3)}, 1},
		{"no repetition levels", lists, []*column.Column{{Slots: 1, MaxDef: 3, Values: ints(1)}}, 1},
		{"fewer values", lists, []*column.Column{{Slots: 2, MaxDef: 3, Rep: []uint8{0, 0}, Values: ints(1)}}, 2},
		{"leaves missing", pair, []*column.Column{slots([]uint8{0}, []uint8{2}, 2)}, 1},
		{"leaves disagree", pair, []*column.Column{slots([]uint8{0}, []uint8{2}, 2), slots([]uint8{0, 0}, []uint8{2, 2}, 2)}, 1},
	}
	for _, c := range cases {
		if _, err := Assemble(c.schema.Root.Children[0], c.leaves, c.rows); !errors.Is(err, ErrLevels) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
