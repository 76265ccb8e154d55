package partition

import (
	"strings"

	"github.com/hupsert/hupsert/partition/metastore"
)

// DefaultPartition is the directory name of NULL, as Hive writes it
// (hive.exec.default.partition.name).
const DefaultPartition = metastore.DefaultValue

// Spec is a partition spec: values of partition columns, in the table's order or, as a user wrote
// it, in any.
type Spec []Pair

// Pair is one column of a spec. Value is not escaped; a NULL is Null with an empty Value.
type Pair struct {
	Column string
	Value  string
	Null   bool
}

// ParseSpec reads a spec as users write it, "dt=2026-11-20,region=kr". Values are escaped as in
// directory names, so that a comma or a slash can be part of one (%2C, %2F); a directory path
// ("dt=2026-11-20/region=kr") is read as well. An empty value is NULL, as in Hive.
func ParseSpec(text string) (Spec, error) {
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '/' })
	if len(parts) == 0 {
		return nil, fault(ErrUsage, "partition %q: want COL=VALUE[,COL=VALUE]", text)
	}
	spec := make(Spec, 0, len(parts))
	seen := make(map[string]bool)
	for _, part := range parts {
		pair, err := parsePair(strings.TrimSpace(part))
		if err != nil {
			return nil, fault(ErrUsage, "partition %q: %v", text, err).hint("write dt=2026-11-20,region=kr; a comma in a value as %%2C")
		}
		fold := strings.ToLower(pair.Column)
		if seen[fold] {
			return nil, fault(ErrUsage, "partition %q: %s stands twice", text, pair.Column)
		}
		seen[fold] = true
		spec = append(spec, pair)
	}
	return spec, nil
}

// ParsePath reads the path of a partition below its table, "dt=2026-11-20/region=kr".
func ParsePath(path string) (Spec, error) {
	var spec Spec
	for _, name := range strings.Split(path, "/") {
		pair, err := parsePair(name)
		if err != nil {
			return nil, fault(ErrLayout, "%q: %v", path, err)
		}
		spec = append(spec, pair)
	}
	return spec, nil
}

// Path is the spec as the path of a directory below the table, escaped as Hive does it.
func (s Spec) Path() string {
	names := make([]string, len(s))
	for i, p := range s {
		names[i] = p.Name()
	}
	return strings.Join(names, "/")
}

// String is the spec as users write it.
func (s Spec) String() string {
	return strings.ReplaceAll(strings.ReplaceAll(s.Path(), ",", "%2C"), "/", ",")
}

// Name is the directory name of one column's value.
func (p Pair) Name() string {
	if p.Null || p.Value == "" {
		return metastore.EscapeName(p.Column) + "=" + DefaultPartition
	}
	return metastore.EscapeName(p.Column) + "=" + metastore.EscapeName(p.Value)
}

// parsePair reads one "column=value" directory name.
func parsePair(name string) (Pair, error) {
	column, value, found := strings.Cut(name, "=")
	switch {
	case !found:
		return Pair{}, fault(ErrValue, "%q is not COL=VALUE", name)
	case column == "":
		return Pair{}, fault(ErrValue, "%q has no column", name)
	}
	p := Pair{Column: metastore.UnescapeName(column), Value: metastore.UnescapeName(value)}
	if value == "" || value == DefaultPartition {
		p.Value, p.Null = "", true
	}
	if climbs(p.Value) || climbs(p.Column) {
		return Pair{}, fault(ErrValue, "%q: \"..\" can't be part of a partition", name)
	}
	return p, nil
}

// climbs reports whether a value holds ".." as a path element: escaped it would be harmless here,
// but not in the hands of every tool that unescapes the name later.
func climbs(value string) bool {
	for rest := value; ; {
		at := strings.IndexAny(rest, `/\`)
		if at < 0 {
			return rest == ".."
		}
		if rest[:at] == ".." {
			return true
		}
		rest = rest[at+1:]
	}
}
