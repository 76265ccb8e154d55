package partition

import (
	"strings"
)

// DefaultPartition is the directory name of NULL, as Hive writes it
// (hive.exec.default.partition.name).
const DefaultPartition = "__HIVE_DEFAULT_PARTITION__"

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
		return escape(p.Column) + "=" + DefaultPartition
	}
	return escape(p.Column) + "=" + escape(p.Value)
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
	p := Pair{Column: unescape(column), Value: unescape(value)}
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

// needsEscape is the set of Hive's FileUtils.charToEscape: control characters and what has a meaning
// in paths, URLs or globs. Other bytes, UTF-8 included, stand as they are.
var needsEscape = func() (set [256]bool) {
	for c := range 0x20 {
		set[c] = true
	}
	for _, c := range []byte("\"#%'*/:=?\\\x7F{[]^") {
		set[c] = true
	}
	return set
}()

// escape writes a column or value as part of a directory name, as Hive's FileUtils.escapePathName.
func escape(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if needsEscape[c] {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// unescape is the inverse, as Hive's FileUtils.unescapePathName: a '%' that no two hexadecimal
// digits follow stands for itself, and a code is a character, not a byte of UTF-8.
func unescape(name string) string {
	if !strings.Contains(name, "%") {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+2 < len(name) {
			hi, lo := hexDigit(name[i+1]), hexDigit(name[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteRune(rune(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
