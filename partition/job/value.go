package job

import (
	"sort"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// value is something that a file may hold: it knows how it is read, and its JSON Schema.
type value interface {
	read(r *reader, n ast.Node)
	schema() schema
}

// member is a field of an object.
type member struct {
	name     string
	value    value
	required bool
	hidden   bool // known, but not told
}

// object is fields by their names, strictly: one that is not known is a problem.
type object struct {
	what    string // it is called in messages
	doc     string
	members []member
	one     []string                 // of these fields just one is there
	found   func(e ast.Node)         // is told of the object's first line
	others  func(name string) string // what has a field that the object has not; nil: nothing is known
	lines   map[string]int           // where the fields stand that were read
}

// member finds a field.
func (o *object) member(name string) (member, bool) {
	for _, m := range o.members {
		if m.name == name {
			return m, true
		}
	}
	return member{}, false
}

// names are the fields that are told.
func (o *object) names() []string {
	var out []string
	for _, m := range o.members {
		if !m.hidden {
			out = append(out, m.name)
		}
	}
	return out
}

// read implements value.
func (o *object) read(r *reader, n ast.Node) {
	entries, ok := r.entries(n, o.what)
	if !ok {
		return
	}
	if o.found != nil {
		o.found(n)
	}
	if o.lines == nil {
		o.lines = map[string]int{}
	}
	for _, e := range entries {
		name := e.Key.GetToken().Value
		m, known := o.member(name)
		if !known {
			r.problem(e.Key, o.hint(name), "%s has no field %q", o.what, name)
			continue
		}
		o.lines[name] = lineOf(e.Key)
		m.value.read(r, e.Value)
	}
	o.complete(r, entries, firstLine(entries, n))
}

// firstLine is where an object begins: a mapping's own place is its first colon.
func firstLine(entries []*ast.MappingValueNode, n ast.Node) int {
	if len(entries) > 0 {
		return lineOf(entries[0].Key)
	}
	return lineOf(n)
}

// hint says what may be meant by a name that is not known.
func (o *object) hint(name string) string {
	if o.others != nil {
		if text := o.others(name); text != "" {
			return text
		}
	}
	if near := Nearest(name, o.names()); near != "" {
		return "did you mean " + near + "?"
	}
	list := o.names()
	if len(list) > 12 {
		return "hupsert job schema has the fields, as JSON"
	}
	return "it may have " + strings.Join(list, ", ")
}

// complete looks for fields that must be there.
func (o *object) complete(r *reader, entries []*ast.MappingValueNode, line int) {
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Key.GetToken().Value] = true
	}
	for _, m := range o.members {
		if m.required && !there[m.name] && o.lines[m.name] == 0 {
			r.problemAt(line, "", "%s has no %s", o.what, m.name)
		}
	}
	count := 0
	for _, name := range o.one {
		if there[name] {
			count++
		}
	}
	if len(o.one) > 0 && count != 1 {
		r.problemAt(line, "", "%s: want just one of %s", o.what, oneOf(o.one))
	}
}

// schema implements value.
func (o *object) schema() schema {
	properties := schema{}
	var required []string
	for _, m := range o.members {
		if !m.hidden {
			properties[m.name] = m.value.schema()
		}
		if m.required {
			required = append(required, m.name)
		}
	}
	s := schema{"type": "object", "additionalProperties": false, "properties": properties}
	if o.doc != "" {
		s["description"] = o.doc
	}
	if len(required) > 0 {
		s["required"] = required
	}
	if len(o.one) > 0 {
		var one []schema
		for _, name := range o.one {
			one = append(one, schema{"required": []string{name}})
		}
		s["oneOf"] = one
	}
	return s
}

// list is values of one kind; each makes the next.
type list struct {
	what  string
	doc   string
	each  func() value
	least int
}

// read implements value.
func (l *list) read(r *reader, n ast.Node) {
	items, ok := r.items(n, l.what)
	if !ok {
		return
	}
	if len(items) < l.least {
		r.problem(n, "", "%s: the list is empty", l.what)
	}
	for _, item := range items {
		l.each().read(r, item)
	}
}

// schema implements value.
func (l *list) schema() schema {
	s := schema{"type": "array", "items": l.each().schema(), "description": l.doc}
	if l.least > 0 {
		s["minItems"] = l.least
	}
	return s
}

// textMap is texts by names that the file chooses, with late variables as far as there are any.
type textMap struct {
	what  string
	doc   string
	to    *map[string]string
	later func(name string) bool
}

// read implements value.
func (t *textMap) read(r *reader, n ast.Node) {
	entries, ok := r.entries(n, t.what)
	if !ok {
		return
	}
	*t.to = map[string]string{}
	for _, e := range entries {
		name := e.Key.GetToken().Value
		if text, ok := r.expand(e.Value, t.what+" "+name, t.later); ok {
			(*t.to)[name] = text
		}
	}
}

// schema implements value.
func (t *textMap) schema() schema {
	return schema{"type": "object", "description": t.doc, "additionalProperties": schema{"type": "string"}}
}

// custom is a value with a reading of its own.
type custom struct {
	shape schema
	into  func(r *reader, n ast.Node)
}

// read implements value.
func (c custom) read(r *reader, n ast.Node) { c.into(r, n) }

// schema implements value.
func (c custom) schema() schema { return c.shape }

// fieldMembers makes members of settings.
func fieldMembers(fields []Field) []member {
	out := make([]member, len(fields))
	for i := range fields {
		f := &fields[i]
		out[i] = member{name: f.Name, value: f, hidden: f.Hidden}
	}
	return out
}

// sortedKeys are the names of a map.
func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
