package job

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// schema is a JSON Schema, or a part of one.
type schema map[string]any

// SchemaURL is where editors find the schema of the version in development.
const SchemaURL = "https://raw.githubusercontent.com/hupsert/hupsert/main/docs/job.schema.json"

// variableSchema is a text that holds a variable, where the value is no text.
var variableSchema = schema{"type": "string", "pattern": `\$\{`}

// Schema is the JSON Schema of job files, by which editors complete and check them.
func Schema() ([]byte, error) {
	s, definitions := new(Job).object().schema(), fieldDefinitions()
	s.refer(definitions)
	s["definitions"] = definitions
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

// fieldDefinitions are the fields of steps, by name. One that differs between the kinds of step is that of the first kind that has it.
func fieldDefinitions() schema {
	out := schema{}
	for _, name := range kindNames() {
		for _, m := range (&Step{Command: name}).object().members {
			if _, has := out[m.name]; !has && !m.hidden {
				out[m.name] = m.value.schema()
			}
		}
	}
	return out
}

// refer puts references in the place of fields that the definitions have: steps of each kind and defaults have most of them.
func (s schema) refer(definitions schema) {
	for name, part := range s {
		inner, ok := part.(schema)
		if !ok {
			continue
		}
		if name == "properties" {
			for field, value := range inner {
				if reflect.DeepEqual(value, definitions[field]) {
					inner[field] = schema{"$ref": "#/definitions/" + field}
				}
			}
		}
		inner.refer(definitions)
	}
}
