package metastore

import (
	"strings"
)

// DefaultValue stands for NULL in a partition's name (hive.exec.default.partition.name).
const DefaultValue = "__HIVE_DEFAULT_PARTITION__"

// escaped are the characters that Hive writes as %XX in names of partitions (FileUtils.charToEscape), and 0, which no file
// system takes. Other bytes, UTF-8 included, stand as they are.
var escaped = func() (set [128]bool) {
	for c := range 0x20 {
		set[c] = true
	}
	for _, c := range "\"#%'*/:=?\\\x7F{[]^" {
		set[c] = true
	}
	return set
}()

// EscapeName writes a column or a value as a part of a partition's name, or of its folder's, as Hive's
// FileUtils.escapePathName does.
func EscapeName(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c < 128 && escaped[c] {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// UnescapeName is the inverse, as Hive's FileUtils.unescapePathName: a '%' without two hexadecimal digits stands for
// itself, and a code is a character, not a byte of UTF-8.
func UnescapeName(name string) string {
	if !strings.Contains(name, "%") {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+2 < len(name) {
			if hi, lo := hexDigit(name[i+1]), hexDigit(name[i+2]); hi >= 0 && lo >= 0 {
				b.WriteRune(rune(hi<<4 | lo)) // a character, not a byte of UTF-8
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

// NameOf is the name of the partition of these values, in the order of the table's columns: "dt=2026-01-01/hr=5". "" is NULL.
func (t *Table) NameOf(values []string) (string, error) {
	if len(values) != len(t.PartitionBy) {
		return "", fault(ErrUsage, "%d values for %d partition columns", len(values), len(t.PartitionBy)).of(t.FullName(), "")
	}
	parts := make([]string, len(values))
	for i, v := range values {
		if v == "" {
			v = DefaultValue
		}
		parts[i] = EscapeName(strings.ToLower(t.PartitionBy[i].Name)) + "=" + EscapeName(v)
	}
	return strings.Join(parts, "/"), nil
}

// ValuesOf takes a partition's name apart, in the order of the table's columns. The values are text as the metastore has them: of
// an int column it holds "5" and "05" for two partitions, and NULL is DefaultValue.
func (t *Table) ValuesOf(name string) ([]string, error) {
	parts := strings.Split(name, "/")
	if len(parts) != len(t.PartitionBy) {
		return nil, t.badName(name)
	}
	values := make([]string, len(parts))
	for i, part := range parts {
		column, value, ok := strings.Cut(part, "=")
		if !ok || !strings.EqualFold(UnescapeName(column), t.PartitionBy[i].Name) {
			return nil, t.badName(name)
		}
		if value == "" {
			value = DefaultValue
		}
		values[i] = UnescapeName(value)
	}
	return values, nil
}

func (t *Table) badName(name string) error {
	columns := make([]string, len(t.PartitionBy))
	for i, c := range t.PartitionBy {
		columns[i] = c.Name
	}
	return fault(ErrUsage, "%q is no partition of the table: it is partitioned by %s", name, strings.Join(columns, ", ")).of(t.FullName(), "")
}
