package job

import (
	"bytes"
	"encoding/json"
)

// schema is a JSON Schema, or a part of one.
type schema map[string]any

// SchemaURL is where editors find the schema of the version in development.
const SchemaURL = "https://raw.githubusercontent.com/hupsert/hupsert/main/docs/job.schema.json"

// variableSchema is a text that holds a variable, where the value is no text.
var variableSchema = schema{"type": "string", "pattern": `\$\{`}

// Schema is the JSON Schema of job files, by which editors complete and check them.
func Schema() ([]byte, error) {
	s := new(Job).object().schema()
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["$id"] = SchemaURL
	s["title"] = "hupsert job"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(s)
	return b.Bytes(), err
}
