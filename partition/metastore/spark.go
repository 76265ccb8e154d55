package metastore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Spark keeps the schema of its tables in their parameters too: as JSON, whole or in numbered parts, with the names as they
// were written, partition columns last.
const (
	sparkProvider   = "spark.sql.sources.provider"
	sparkSchema     = "spark.sql.sources.schema"
	sparkParts      = "spark.sql.sources.schema.numParts"
	sparkPart       = "spark.sql.sources.schema.part."
	sparkPartitions = "spark.sql.partitionProvider"
	sparkBuckets    = "spark.sql.sources.schema.numBuckets"
	sparkStatistics = "spark.sql.statistics."
	sparkPath       = "path" // of the SerDe: where Spark's own tables lie

	// sparkPartLength is what databases hold of a parameter (spark.sql.sources.schemaStringLengthThreshold).
	sparkPartLength = 4000
)

// sparkStruct is a schema in Spark's JSON.
type sparkStruct struct {
	Type   string       `json:"type"`
	Fields []sparkField `json:"fields"`
}

type sparkField struct {
	Name     string          `json:"name"`
	Type     json.RawMessage `json:"type"`
	Nullable bool            `json:"nullable"`
	Metadata json.RawMessage `json:"metadata"`
}

// sparkSchemaOf reads Spark's schema of a table's parameters; nil where there is none.
func sparkSchemaOf(parameters map[string]string) (*sparkStruct, error) {
	whole, ok := parameters[sparkSchema]
	if !ok {
		text, ok := parameters[sparkParts]
		if !ok {
			return nil, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s is %q", sparkParts, text)
		}
		var b strings.Builder
		for i := range n {
			part, ok := parameters[sparkPart+strconv.Itoa(i)]
			if !ok {
				return nil, fmt.Errorf("%s%d is missing", sparkPart, i)
			}
			b.WriteString(part)
		}
		whole = b.String()
	}
	var s sparkStruct
	if err := json.Unmarshal([]byte(whole), &s); err != nil {
		return nil, fmt.Errorf("%s: %w", sparkSchema, err)
	}
	return &s, nil
}

// store puts a schema into parameters, in the form they have it in.
func (s *sparkStruct) store(parameters map[string]string) error {
	whole, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if _, ok := parameters[sparkParts]; !ok && len(whole) <= sparkPartLength {
		parameters[sparkSchema] = string(whole)
		return nil
	}
	delete(parameters, sparkSchema)
	for name := range parameters {
		if strings.HasPrefix(name, sparkPart) {
			delete(parameters, name)
		}
	}
	n := 0
	for rest := []rune(string(whole)); len(rest) > 0; n++ {
		cut := min(len(rest), sparkPartLength)
		parameters[sparkPart+strconv.Itoa(n)] = string(rest[:cut])
		rest = rest[cut:]
	}
	parameters[sparkParts] = strconv.Itoa(n)
	return nil
}

// spellAsSpark gives columns the names that Spark has for them, which the metastore has in small letters only. Where the two
// don't name the same columns, somebody has changed the table without Spark: then the metastore's count, as Spark does it. Columns
// that the table is partitioned by stay as the metastore has them: they are in the partitions' names.
func (t *Table) spellAsSpark() {
	s, err := sparkSchemaOf(t.Parameters)
	if err != nil || s == nil || len(s.Fields) != len(t.Columns)+len(t.PartitionBy) {
		return // what Spark's parameters lack is Spark's to complain of: the metastore's columns are whole without them
	}
	spelled := make(map[string]string, len(s.Fields))
	for _, f := range s.Fields {
		spelled[strings.ToLower(f.Name)] = f.Name
	}
	for _, c := range append(slices.Clone(t.Columns), t.PartitionBy...) {
		if _, ok := spelled[strings.ToLower(c.Name)]; !ok {
			return
		}
	}
	for i, c := range t.Columns {
		t.Columns[i].Name = spelled[strings.ToLower(c.Name)]
	}
}

// add puts new columns behind the table's, before those it is partitioned by.
func (s *sparkStruct) add(columns []Column, partitionBy int) error {
	at := len(s.Fields) - partitionBy
	if at < 0 {
		return fmt.Errorf("%s has %d columns", sparkSchema, len(s.Fields))
	}
	fresh := make([]sparkField, 0, len(columns))
	for _, c := range columns {
		t, err := parseType(c.Type)
		if err != nil {
			return err
		}
		f, err := t.spark(c.Name, c.Comment)
		if err != nil {
			return err
		}
		fresh = append(fresh, f)
	}
	s.Fields = slices.Insert(s.Fields, at, fresh...)
	return nil
}

// sparkNames are Spark's words for types, where they are not Hive's.
var sparkNames = map[string]string{"tinyint": "byte", "smallint": "short", "int": "integer", "bigint": "long"}

// spark writes a nullable column in Spark's JSON. Declared lengths stand in its metadata.
func (t hiveType) spark(name, comment string) (sparkField, error) {
	typ, err := json.Marshal(t.sparkType())
	if err != nil {
		return sparkField{}, err
	}
	about := map[string]string{}
	if comment != "" {
		about["comment"] = comment
	}
	if t.name == "char" || t.name == "varchar" {
		about["__CHAR_VARCHAR_TYPE_STRING"] = t.hive()
	}
	metadata, err := json.Marshal(about)
	return sparkField{name, typ, true, metadata}, err
}

// sparkType is a type as Spark's JSON has it: a name, or an object.
func (t hiveType) sparkType() any {
	switch t.name {
	case "array":
		return map[string]any{"type": "array", "elementType": t.fields[0].sparkType(), "containsNull": true}
	case "map":
		return map[string]any{"type": "map", "keyType": t.fields[0].sparkType(), "valueType": t.fields[1].sparkType(), "valueContainsNull": true}
	case "struct":
		fields := make([]any, len(t.fields))
		for i, f := range t.fields {
			fields[i] = map[string]any{"name": f.name, "type": f.sparkType(), "nullable": true, "metadata": map[string]any{}}
		}
		return map[string]any{"type": "struct", "fields": fields}
	case "char", "varchar":
		return "string"
	}
	name := t.hive()
	if strings.HasPrefix(name, "timestamp") {
		return "timestamp"
	}
	if spark, ok := sparkNames[name]; ok {
		return spark
	}
	return name
}
