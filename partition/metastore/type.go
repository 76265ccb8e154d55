package metastore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// hiveType is a type as the metastore has it in text.
type hiveType struct {
	name   string // "int", "decimal", "struct", ...
	sizes  []int  // of decimal, char, varchar, and the digits of a timestamp's seconds
	fields []hiveField
}

// hiveField is a struct's field, an element, a key or a value.
type hiveField struct {
	name string
	hiveType
}

// plainTypes are the types without parameters, and what partition.ParseSchema calls them.
var plainTypes = map[string]string{
	"boolean": "boolean", "tinyint": "tinyint", "smallint": "smallint", "int": "int", "integer": "int", "bigint": "bigint", "long": "bigint",
	"float": "float", "real": "float", "double": "double", "double precision": "double", "string": "string", "binary": "binary", "date": "date",
	"timestamp": "timestamp", "timestamp with local time zone": "timestamp", "timestamplocaltz": "timestamp",
	// Of partition.ParseSchema, for columns that are to be added.
	"bool": "boolean", "text": "string", "timestamp_ntz": "timestamp", "timestamptz": "timestamp", "timestamp_ltz": "timestamp", "datetime": "timestamp", "numeric": "decimal",
}

// unheld are types of Hive's that Parquet files can't hold.
var unheld = map[string]bool{
	"uniontype": true, "void": true, "null": true, "interval_year_month": true, "interval_day_time": true, "unknown": true,
}

// mostDepth bounds how deep types nest, so that hostile text can't exhaust the stack.
const mostDepth = 64

// typeReader is a recursive descent over Hive's type strings.
type typeReader struct {
	text  string
	at    int
	depth int
}

// parseType reads a type as the metastore has it: "decimal(10,2)", "struct<a:int,b c:array<string>>".
func parseType(text string) (hiveType, error) {
	r := &typeReader{text: text}
	t, err := r.read()
	if err == nil && r.at != len(r.text) {
		err = r.unexpected("the end")
	}
	if err != nil {
		return hiveType{}, fmt.Errorf("type %s: %w", text, err)
	}
	return t, nil
}

func (r *typeReader) unexpected(want string) error {
	return fmt.Errorf("want %s at %q", want, r.text[min(r.at, len(r.text)):])
}

func (r *typeReader) take(c byte) bool {
	for r.at < len(r.text) && r.text[r.at] == ' ' {
		r.at++
	}
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

func (r *typeReader) read() (hiveType, error) {
	if r.depth++; r.depth > mostDepth {
		return hiveType{}, fmt.Errorf("types nest deeper than %d", mostDepth)
	}
	defer func() { r.depth-- }()
	start := r.at
	for r.at < len(r.text) && !strings.ContainsRune("<>(),:", rune(r.text[r.at])) {
		r.at++
	}
	t := hiveType{name: strings.ToLower(strings.Join(strings.Fields(r.text[start:r.at]), " "))}
	if unheld[t.name] {
		return t, fmt.Errorf("%s is not supported", t.name)
	}
	var err error
	switch t.name {
	case "":
		return t, r.unexpected("a type")
	case "decimal", "numeric", "char", "varchar", "timestamp", "timestamp_ntz":
		t.sizes, err = r.sizes()
		if err == nil && t.name == "timestamp" && t.sizes != nil {
			r.take(' ')
			rest := strings.ToLower(r.text[r.at:])
			if strings.HasPrefix(rest, "with local time zone") {
				r.at += len("with local time zone")
			}
		}
		return t, errors.Join(err, t.check())
	case "array", "map", "struct":
		return t, r.fields(&t)
	}
	if _, ok := plainTypes[t.name]; !ok {
		return t, fmt.Errorf("there is no type %q", t.name)
	}
	return t, nil
}

// sizes reads "(10,2)" where it stands.
func (r *typeReader) sizes() ([]int, error) {
	if !r.take('(') {
		return nil, nil
	}
	end := strings.IndexByte(r.text[r.at:], ')')
	if end < 0 {
		return nil, r.unexpected(`")"`)
	}
	var out []int
	for number := range strings.SplitSeq(r.text[r.at:r.at+end], ",") {
		n, err := strconv.Atoi(strings.TrimSpace(number))
		if err != nil || n < 0 {
			return nil, r.unexpected("numbers")
		}
		out = append(out, n)
	}
	r.at += end + 1
	return out, nil
}

// check holds a type's sizes against what Hive allows.
func (t hiveType) check() error {
	switch {
	case t.name == "char" || t.name == "varchar":
		if len(t.sizes) != 1 || t.sizes[0] < 1 {
			return fmt.Errorf("want %s(LENGTH)", t.name)
		}
	case t.name == "decimal" || t.name == "numeric":
		if len(t.sizes) > 2 || len(t.sizes) > 0 && (t.sizes[0] < 1 || t.sizes[0] > 38) || len(t.sizes) == 2 && t.sizes[1] > t.sizes[0] {
			return errors.New("want decimal(PRECISION,SCALE), a precision of 1 to 38 and a scale up to it")
		}
	case len(t.sizes) > 1:
		return fmt.Errorf("want %s", t.name)
	}
	return nil
}

// fields reads what stands between "<" and ">".
func (r *typeReader) fields(t *hiveType) error {
	if !r.take('<') {
		return r.unexpected(`"<"`)
	}
	for {
		var f hiveField
		var err error
		if t.name == "struct" {
			if f.name, err = r.fieldName(); err != nil {
				return err
			}
		}
		r.take(' ')
		if f.hiveType, err = r.read(); err != nil {
			return err
		}
		t.fields = append(t.fields, f)
		if r.take('>') {
			break
		}
		if !r.take(',') {
			return r.unexpected(`"," or ">"`)
		}
	}
	if n := len(t.fields); t.name == "array" && n != 1 || t.name == "map" && n != 2 {
		return fmt.Errorf("%s of %d types", t.name, n)
	}
	return nil
}

// fieldName reads a struct's field up to its colon: Hive does not quote it, Spark may.
func (r *typeReader) fieldName() (string, error) {
	r.take(' ')
	if r.take('`') {
		end := strings.IndexByte(r.text[r.at:], '`')
		if end < 1 {
			return "", r.unexpected("a name")
		}
		name := r.text[r.at : r.at+end]
		r.at += end + 1
		if !r.take(':') {
			return "", r.unexpected(`":"`)
		}
		return name, nil
	}
	end := strings.IndexByte(r.text[r.at:], ':')
	if end < 1 {
		return "", r.unexpected("NAME:TYPE")
	}
	name := r.text[r.at : r.at+end]
	r.at += end + 1
	return name, nil
}

// grammar writes a type in the words of partition.ParseSchema.
func (t hiveType) grammar() (string, error) {
	switch t.name {
	case "array", "map", "struct":
		parts := make([]string, len(t.fields))
		for i, f := range t.fields {
			text, err := f.grammar()
			if err != nil {
				return "", err
			}
			if t.name == "struct" {
				name, err := quote(f.name)
				if err != nil {
					return "", err
				}
				text = name + ":" + text
			}
			parts[i] = text
		}
		return t.name + "<" + strings.Join(parts, ",") + ">", nil
	case "timestamp", "timestamp_ntz": // the digits are the files' matter
		return "timestamp", nil
	case "decimal", "numeric":
		precision, scale := t.decimal()
		return fmt.Sprintf("decimal(%d,%d)", precision, scale), nil
	case "char", "varchar":
		return fmt.Sprintf("%s(%d)", t.name, t.sizes[0]), nil
	}
	return plainTypes[t.name], nil
}

// decimal gives precision and scale: Hive's decimal without them is decimal(10,0).
func (t hiveType) decimal() (precision, scale int) {
	precision = 10
	if len(t.sizes) > 0 {
		precision = t.sizes[0]
	}
	if len(t.sizes) > 1 {
		scale = t.sizes[1]
	}
	return precision, scale
}

// hive writes a type as the metastore has it: names of fields stand as they are.
func (t hiveType) hive() string {
	switch t.name {
	case "array", "map", "struct":
		parts := make([]string, len(t.fields))
		for i, f := range t.fields {
			parts[i] = f.hive()
			if t.name == "struct" {
				parts[i] = f.name + ":" + parts[i]
			}
		}
		return t.name + "<" + strings.Join(parts, ",") + ">"
	case "decimal", "numeric":
		precision, scale := t.decimal()
		return fmt.Sprintf("decimal(%d,%d)", precision, scale)
	case "char", "varchar":
		return fmt.Sprintf("%s(%d)", t.name, t.sizes[0])
	case "timestamp with local time zone", "timestamplocaltz":
		return "timestamp with local time zone"
	}
	return plainTypes[t.name]
}

// same reports whether two types hold the same values under the same names, however they are spelled.
func (t hiveType) same(o hiveType) bool { return strings.EqualFold(t.hive(), o.hive()) }

// quote writes a name so that partition.ParseSchema reads it.
func quote(name string) (string, error) {
	if strings.ContainsAny(name, "`") || name == "" {
		return "", fmt.Errorf("a field is called %q: names with a backtick are not supported", name)
	}
	return "`" + name + "`", nil
}

// Declaration writes columns in the words of partition.ParseSchema. Types that Parquet can't hold, and names that it can't
// be told, are an error naming the column.
func Declaration(columns []Column) (string, error) {
	parts := make([]string, len(columns))
	for i, c := range columns {
		text, err := c.Declared()
		if err != nil {
			return "", err
		}
		name, err := quote(c.Name)
		if err != nil {
			return "", schemaFault(c.Name, err)
		}
		parts[i] = name + " " + text
	}
	return strings.Join(parts, ", "), nil
}

// Declared is the column's type in the words of partition.ParseType: "timestamp with local time zone" is a timestamp, and names
// in structs are quoted.
func (c Column) Declared() (string, error) {
	t, err := parseType(c.Type)
	if err != nil {
		return "", schemaFault(c.Name, err)
	}
	text, err := t.grammar()
	if err != nil {
		return "", schemaFault(c.Name, err)
	}
	return text, nil
}

// HiveType writes a type of partition.ParseSchema as the metastore has it. Unsigned integers it has not.
func HiveType(text string) (string, error) {
	t, err := parseType(text)
	if err != nil {
		return "", schemaFault("", err)
	}
	return t.hive(), nil
}

func schemaFault(column string, err error) error {
	e := &Error{Column: column, Err: &text{err.Error(), []error{ErrSchema, err}}}
	return e.hint("leave the column to Hive: hupsert changes tables whose columns Parquet holds")
}
