package job

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Expectation is something that must hold in every partition that a step changes, before it is published. Just one of its fields
// is there.
type Expectation struct {
	Name     string      // in messages; by default what is expected
	NotNull  []string    // columns without NULL
	Unique   []string    // columns that tell the rows of a partition apart; NULL is like no other
	Between  *Between    // values within bounds
	Accepted *Accepted   // values of a list
	Change   *CountRange // how the number of rows of a partition may change
	SQL      string      // a query of the staged rows, by DuckDB: each row that it gives is one too many

	line int
}

// Between is bounds of a column's values, which belong to it. NULL passes.
type Between struct {
	Column string
	Min    *string // as CSV has values of the column's type; nil: no bound
	Max    *string
}

// Accepted is the values that a column may have. NULL passes.
type Accepted struct {
	Column string
	Values []string // as CSV has values of the column's type
}

// CountRange is bounds of a change of a number of rows, each as a share of what was there or as a number.
type CountRange struct {
	Text     string
	Min, Max Change
}

// Change is a bound of a CountRange.
type Change struct {
	By    float64
	Share bool // By is a share of the old rows, not a number
	Open  bool // there is no bound
}

var expectationNames = []string{"not_null", "unique", "between", "accepted_values", "row_count_change", "sql"}

// expectationList is expectations as a file has them.
func expectationList(to *[]*Expectation) value {
	return &list{what: "expect", doc: "What must hold in the staged partitions; otherwise nothing is published, exit code 5", each: func() value {
		e := new(Expectation)
		*to = append(*to, e)
		return e.object()
	}}
}

// object is what an expectation may hold.
func (e *Expectation) object() *object {
	text := func(name, doc string, to *string) value { return &Field{Name: name, Usage: doc, To: to} }
	return &object{what: "the expectation", doc: "What must hold in each partition that the step changes", one: expectationNames,
		found: func(n ast.Node) { e.line = lineOf(n) }, members: []member{
			{name: "name", value: text("name", "what it is called in messages (default: what is expected)", &e.Name)},
			{name: "not_null", value: &Field{Name: "not_null", Kind: Columns, Usage: "columns without NULL", To: &e.NotNull}},
			{name: "unique", value: &Field{Name: "unique", Kind: Columns, Usage: "columns that together are different in every row of a partition; rows with NULL in them are not compared", To: &e.Unique}},
			{name: "between", value: e.betweenObject()},
			{name: "accepted_values", value: e.acceptedObject()},
			{name: "row_count_change", value: custom{shape: schema{"type": "string", "examples": []string{"-10%..+50%", "0..", "..+1000"},
				"description": "by how much a partition's rows may become fewer or more: MIN..MAX, each a share of the old rows or a number; partitions without old rows pass"}, into: e.readChange}},
			{name: "sql", value: text("sql", "a query of the table staged, by the installed duckdb: each row that it gives is one too many", &e.SQL)},
		}}
}

func (e *Expectation) betweenObject() *object {
	b := new(Between)
	bound := func(name string, to **string) member {
		return member{name: name, value: custom{shape: schema{"type": []string{"string", "number"}, "description": "the bound, which belongs to it, as CSV has it"}, into: func(r *reader, n ast.Node) {
			if text, ok := r.text(n, name); ok {
				*to = &text
			}
		}}}
	}
	return &object{what: "between", doc: "Bounds of a column's values; NULL passes", found: func(ast.Node) { e.Between = b }, members: []member{
		{name: "column", required: true, value: &Field{Name: "column", Usage: "the column", To: &b.Column}}, bound("min", &b.Min), bound("max", &b.Max)}}
}

func (e *Expectation) acceptedObject() *object {
	a := new(Accepted)
	return &object{what: "accepted_values", doc: "The values that a column may have; NULL passes", found: func(ast.Node) { e.Accepted = a }, members: []member{
		{name: "column", required: true, value: &Field{Name: "column", Usage: "the column", To: &a.Column}},
		{name: "values", required: true, value: custom{shape: schema{"type": "array", "minItems": 1, "description": "the values, as CSV has them",
			"items": schema{"type": []string{"string", "number", "boolean"}}}, into: func(r *reader, n ast.Node) {
			if a.Values, _ = r.texts(n, "values"); a.Values != nil && len(a.Values) == 0 {
				r.problem(n, "", "values: the list is empty")
			}
		}}}}}
}

func (e *Expectation) readChange(r *reader, n ast.Node) {
	text, ok := r.text(n, "row_count_change")
	if !ok {
		return
	}
	c, err := parseCountRange(text)
	if err != nil {
		r.problem(n, "MIN..MAX, such as -10%..+50%, 0.. or -100..+1000", "row_count_change %q: %v", text, err)
		return
	}
	e.Change = c
}

func parseCountRange(text string) (*CountRange, error) {
	low, high, found := strings.Cut(text, "..")
	if !found {
		return nil, fmt.Errorf("want MIN..MAX")
	}
	c := &CountRange{Text: text}
	var err error
	if c.Min, err = parseChange(strings.TrimSpace(low)); err != nil {
		return nil, err
	}
	if c.Max, err = parseChange(strings.TrimSpace(high)); err != nil {
		return nil, err
	}
	switch {
	case c.Min.Open && c.Max.Open:
		return nil, fmt.Errorf("neither bound is there")
	case !c.Min.Open && !c.Max.Open && (c.Min.Share == c.Max.Share && c.Min.By > c.Max.By || c.Min.By > 0 && c.Max.By < 0):
		return nil, fmt.Errorf("the bounds are reversed")
	}
	return c, nil
}

func parseChange(text string) (Change, error) {
	if text == "" {
		return Change{Open: true}, nil
	}
	digits, share := strings.CutSuffix(text, "%")
	by, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsNaN(by) || math.IsInf(by, 0) || !share && by != math.Trunc(by) {
		return Change{}, fmt.Errorf("%q is no share and no whole number", text)
	}
	if share {
		by /= 100
	}
	return Change{By: by, Share: share}, nil
}

// holds reports whether a number of rows may become another.
func (c *CountRange) holds(before, after int64) bool {
	if before == 0 {
		return true
	}
	change := float64(after - before)
	bound := func(b Change) float64 {
		if b.Share {
			return b.By * float64(before)
		}
		return b.By
	}
	const slack = 1e-9 // shares are not exact in binary: 10% of 10 is 1
	return (c.Min.Open || change >= bound(c.Min)-slack) && (c.Max.Open || change <= bound(c.Max)+slack)
}

// check finds what makes no sense.
func (e *Expectation) check(r *reader) {
	if e.line == 0 {
		return // it is no list of fields, which is told
	}
	empty := func(what string) { r.problemAt(e.line, "", "the expectation: %s names no column", what) }
	if e.NotNull != nil && len(e.NotNull) == 0 {
		empty("not_null")
	}
	if e.Unique != nil && len(e.Unique) == 0 {
		empty("unique")
	}
	if e.nothing() && !r.hasProblem(e.line) {
		r.problemAt(e.line, "", "the expectation: sql is empty")
	}
	if b := e.Between; b != nil && b.Min == nil && b.Max == nil && b.Column != "" {
		r.problemAt(e.line, "", "the expectation: between has neither min nor max")
	}
}

// nothing reports whether it expects nothing at all.
func (e *Expectation) nothing() bool {
	return e.NotNull == nil && e.Unique == nil && e.Between == nil && e.Accepted == nil && e.Change == nil && strings.TrimSpace(e.SQL) == ""
}

// String is what is expected, in short.
func (e *Expectation) String() string {
	switch {
	case e.Name != "":
		return e.Name
	case e.NotNull != nil:
		return "not_null " + strings.Join(e.NotNull, ", ")
	case e.Unique != nil:
		return "unique " + strings.Join(e.Unique, ", ")
	case e.Between != nil:
		return "between " + e.Between.Column + " " + orOpen(e.Between.Min) + ".." + orOpen(e.Between.Max)
	case e.Accepted != nil:
		return "accepted_values " + e.Accepted.Column
	case e.Change != nil:
		return "row_count_change " + e.Change.Text
	}
	return "sql " + shorten(strings.Join(strings.Fields(e.SQL), " "), 60)
}

func orOpen(bound *string) string {
	if bound == nil {
		return ""
	}
	return *bound
}
