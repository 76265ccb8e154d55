package job

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/hupsert/hupsert/partition"
)

// reader goes through a file's nodes, and collects what is wrong with them.
type reader struct {
	file     string
	vars     *variables
	problems []*partition.Error
}

// problem notes what is wrong at a node.
func (r *reader) problem(n ast.Node, hint, format string, args ...any) {
	r.problemAt(lineOf(n), hint, format, args...)
}

// problemAt notes what is wrong in a line, once.
func (r *reader) problemAt(line int, hint, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, p := range r.problems {
		if p.Line == int64(line) && p.Err.Error() == text {
			return // fields of all steps are read once for each
		}
	}
	r.problems = append(r.problems, &partition.Error{Kind: partition.KindUsage, File: r.file, Line: int64(line), Hint: hint, Err: errors.New(text)})
}

// hasProblem reports whether something is wrong in a line.
func (r *reader) hasProblem(line int) bool {
	return slices.ContainsFunc(r.problems, func(p *partition.Error) bool { return p.Line == int64(line) })
}

// err joins the problems, by their lines; nil where there is none.
func (r *reader) err() error {
	slices.SortStableFunc(r.problems, func(a, b *partition.Error) int { return int(a.Line - b.Line) })
	errs := make([]error, len(r.problems))
	for i, p := range r.problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// parse reads YAML of one document, whose root is nil where it holds nothing. The parser panics on some malformed documents,
// so a panic is an error here.
func (r *reader) parse(data []byte) (root ast.Node) {
	defer func() {
		if p := recover(); p != nil {
			r.problemAt(1, "", "not YAML: %v", p)
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.notYAML(err)
		return nil
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			r.problem(doc.Body, "a file holds one job; its steps may be of several tables", "a second document")
			return nil
		}
		root = doc.Body
	}
	return root
}

func (r *reader) notYAML(err error) {
	hint := ""
	var known yaml.Error
	if !errors.As(err, &known) || known.GetToken() == nil {
		r.problemAt(1, hint, "not YAML: %v", err)
		return
	}
	if strings.Contains(known.GetMessage(), "must be specified") {
		hint = "put ${NAME} into quotes where it stands inside { } or [ ]"
	}
	r.problemAt(known.GetToken().Position.Line, hint, "not YAML: %s", known.GetMessage())
}

// entries are the fields of a mapping, each once. What is no mapping, and a field that stands twice, is a problem.
func (r *reader) entries(n ast.Node, what string) ([]*ast.MappingValueNode, bool) {
	var list []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		list = n.Values
	case *ast.MappingValueNode:
		list = []*ast.MappingValueNode{n}
	default:
		r.refuse(n, what, "want fields, NAME: VALUE")
		return nil, false
	}
	first := map[string]int{}
	var out []*ast.MappingValueNode
	for _, e := range list {
		if _, merge := e.Key.(*ast.MergeKeyNode); merge {
			r.problem(e.Key, hintNoAnchors, "%s: merge keys are not known here", what)
			continue
		}
		name := e.Key.GetToken().Value
		line, twice := first[name]
		if twice {
			r.problem(e.Key, "", "%s stands twice, in line %d too", name, line)
			continue
		}
		first[name] = lineOf(e.Key)
		out = append(out, e)
	}
	return out, true
}

const hintNoAnchors = "what all steps have goes under defaults"

// refuse says that a node is not what is wanted.
func (r *reader) refuse(n ast.Node, what, want string) {
	switch n.(type) {
	case *ast.NullNode:
		r.problem(n, "", "%s has no value: %s", what, want)
	case *ast.AnchorNode, *ast.AliasNode:
		r.problem(n, hintNoAnchors, "%s: anchors are not known here", what)
	case *ast.TagNode:
		r.problem(n, "", "%s: tags are not known here: %s", what, want)
	case *ast.MappingNode, *ast.MappingValueNode:
		r.problem(n, "", "%s: %s, not fields", what, want)
	case *ast.SequenceNode:
		r.problem(n, "", "%s: %s, not a list", what, want)
	default:
		r.problem(n, "", "%s: %s, not %q", what, want, n.GetToken().Value)
	}
}

// items are the elements of a list.
func (r *reader) items(n ast.Node, what string) ([]ast.Node, bool) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		r.refuse(n, what, "want a list, - ITEM")
		return nil, false
	}
	return s.Values, true
}

// text is a scalar as it is written, with its variables.
func (r *reader) text(n ast.Node, what string) (string, bool) {
	return r.expand(n, what, nil)
}

// expand is text in which names that later tells are left as they stand: they get their values later.
func (r *reader) expand(n ast.Node, what string, later func(name string) bool) (string, bool) {
	var text string
	switch n := n.(type) {
	case *ast.LiteralNode:
		text = n.Value.Value
	case *ast.StringNode:
		text = n.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		text = n.GetToken().Value
	default:
		r.refuse(n, what, "want a value")
		return "", false
	}
	out, err := r.vars.expand(text, later)
	if err != nil {
		r.problem(n, hintOfVariable(err), "%s: %v", what, err)
		return "", false
	}
	return out, true
}

// texts is one text, or a list of them.
func (r *reader) texts(n ast.Node, what string) ([]string, bool) {
	if _, list := n.(*ast.SequenceNode); !list {
		text, ok := r.text(n, what)
		return []string{text}, ok
	}
	items, _ := r.items(n, what)
	out := []string{}
	for _, item := range items {
		text, ok := r.text(item, what)
		if !ok {
			return nil, false
		}
		out = append(out, text)
	}
	return out, true
}
