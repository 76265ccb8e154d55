package source

import (
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// fold is a name as it is compared: Hive ignores case.
func fold(name string) string { return strings.ToLower(name) }

// wanted tells the columns to read.
type wanted struct{ names map[string]bool }

func newWanted(columns []string) wanted {
	if columns == nil {
		return wanted{}
	}
	w := wanted{names: make(map[string]bool, len(columns))}
	for _, c := range columns {
		w.names[fold(c)] = true
	}
	return w
}

func (w wanted) has(name string) bool { return w.names == nil || w.names[fold(name)] }

// pick returns the indices of the columns to read. Two of them whose names differ only in case, or not
// at all, can't be told apart by name.
func (w wanted) pick(names []string) ([]int, error) {
	seen := make(map[string]string, len(names))
	var picked []int
	for i, name := range names {
		if !w.has(name) {
			continue
		}
		if other, ok := seen[fold(name)]; ok {
			return nil, fmt.Errorf("%w: %q and %q are the same name", ErrColumns, other, name)
		}
		seen[fold(name)] = name
		picked = append(picked, i)
	}
	return picked, nil
}

// types finds the table's fields by name.
type types map[string]arrow.Field

func typesOf(s *arrow.Schema) types {
	t := make(types, s.NumFields())
	for _, f := range s.Fields() {
		t[fold(f.Name)] = f
	}
	return t
}

// field is a text column's field, nullable and with the table's type where the table has it. Dictionary
// types of the table stand for their values.
func (t types) field(name string) arrow.Field {
	f, ok := t[fold(name)]
	if !ok {
		return arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true,
			Metadata: arrow.NewMetadata([]string{MetaUntyped}, []string{"true"})}
	}
	f.Name, f.Nullable = name, true
	if d, ok := f.Type.(*arrow.DictionaryType); ok {
		f.Type = d.ValueType
	}
	return f
}

func untyped(f arrow.Field) bool { return f.Metadata.FindKey(MetaUntyped) >= 0 }
