package partition

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// Schemas are compared by the names of their columns, whatever their case, and their types. The order of the
// columns, and whether they take NULL, make no difference: engines find columns by name.

// shape is a schema as it is compared.
func shape(s *arrow.Schema) string {
	lines := make([]string, s.NumFields())
	for i, f := range s.Fields() {
		lines[i] = strings.ToLower(f.Name) + " " + TypeName(f.Type)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// difference says how a schema differs from another, which is told in the words of has: "lacks a; has b;
// x is int, bigint elsewhere".
func difference(s, other *arrow.Schema) string {
	var lacks, has, types []string
	for _, f := range other.Fields() {
		switch at := foldIndices(s, f.Name); {
		case len(at) == 0:
			lacks = append(lacks, f.Name)
		case !arrow.TypeEqual(s.Field(at[0]).Type, f.Type):
			types = append(types, fmt.Sprintf("%s is %s, %s elsewhere", f.Name, TypeName(s.Field(at[0]).Type), TypeName(f.Type)))
		}
	}
	for _, f := range s.Fields() {
		if len(foldIndices(other, f.Name)) == 0 {
			has = append(has, f.Name)
		}
	}
	var parts []string
	if len(lacks) > 0 {
		parts = append(parts, "lacks "+strings.Join(lacks, ", "))
	}
	if len(has) > 0 {
		parts = append(parts, "has "+strings.Join(has, ", ")+" beside")
	}
	return strings.Join(append(parts, types...), "; ")
}

// shaped is what has one shape.
type shaped struct {
	schema *arrow.Schema
	names  []string // of files or partitions, in their order
}

// byShape groups schemas: the most frequent shape first, and of equals the one that comes last.
func byShape[T any](list []T, of func(T) (*arrow.Schema, string)) []*shaped {
	var out []*shaped
	known := map[string]*shaped{}
	last := map[*shaped]int{}
	for i, v := range list {
		schema, name := of(v)
		if schema == nil {
			continue
		}
		s := known[shape(schema)]
		if s == nil {
			s = &shaped{schema: schema}
			known[shape(schema)] = s
			out = append(out, s)
		}
		s.names = append(s.names, name)
		last[s] = i
	}
	slices.SortFunc(out, func(a, b *shaped) int {
		return cmp.Or(cmp.Compare(len(b.names), len(a.names)), cmp.Compare(last[b], last[a]))
	})
	return out
}

// compareFiles compares the files of a partition, and makes their union.
func (p *checkedPartition) compareFiles() {
	shapes := byShape(p.good, func(f checkedFile) (*arrow.Schema, string) { return f.schema, f.Name })
	for i, s := range shapes {
		united, err := unite(p.schema, s.schema)
		f := Finding{File: s.names[0], Count: int64(len(s.names)), Samples: s.names[1:min(len(s.names), sampled)]}
		files := plural(f.Count, "file differs", "files differ") + " from the others in the partition: "
		switch {
		case err != nil:
			f.Severity, f.Kind = SeverityError, FoundConflict
			f.Column, f.Message = conflicting(s.schema, p.schema, err)
			f.Message = files + f.Message
			f.Hint = "write them anew in the types of the others: no type holds the values of both, so upserts are refused"
			p.find(f)
			continue
		case i > 0:
			f.Severity, f.Kind, f.Message = SeverityWarning, FoundDrift, files+difference(s.schema, shapes[0].schema)
			f.Hint = "hupsert reads such files by name; other engines may take the columns of any one of them for all"
			p.find(f)
		}
		p.schema = united
	}
	if p.schema != nil {
		p.schema = without(p.schema, p.layout.columns)
	}
}

// conflicting is the first column whose two types no type holds, and what it is; else what unite says.
func conflicting(s, others *arrow.Schema, err error) (column, text string) {
	for _, f := range s.Fields() {
		for _, at := range foldIndices(others, f.Name) {
			if _, err := wider(others.Field(at).Type, f.Type); err != nil {
				return f.Name, fmt.Sprintf("%s is %s, %s elsewhere", f.Name, TypeName(f.Type), TypeName(others.Field(at).Type))
			}
		}
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Column, e.Err.Error()
	}
	return "", err.Error()
}

// compareSchemas compares partitions with each other: what most of them have is taken for right, and of equals
// what the newest has.
func (c *checker) compareSchemas(checked []*checkedPartition) {
	shapes := byShape(checked, func(p *checkedPartition) (*arrow.Schema, string) { return p.schema, p.leaf.path })
	var union *arrow.Schema
	for i, s := range shapes {
		united, err := unite(union, s.schema)
		f := Finding{Partitions: s.names, Count: int64(len(s.names))}
		partitions := plural(f.Count, "partition differs", "partitions differ") + " from the others: "
		switch {
		case err != nil:
			f.Severity, f.Kind = SeverityError, FoundConflict
			f.Column, f.Message = conflicting(s.schema, union, err)
			f.Message = partitions + f.Message
			f.Hint = "write them anew in the types of the others: no type holds the values of both, so queries over both fail"
			c.find(f)
			continue
		case i > 0:
			f.Severity, f.Kind, f.Message = SeverityWarning, FoundDrift, partitions+difference(s.schema, shapes[0].schema)
			f.Hint = "engines show missing columns as NULL; a query over partitions of different types may fail"
			c.find(f)
		}
		union = united
	}
}
