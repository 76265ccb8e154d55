package job

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/hupsert/hupsert/merge/nearest"
)

// variables give values to ${NAME} in the texts of a file.
type variables struct {
	set  map[string]string // given with the run; these win
	env  func(name string) (string, bool)
	used map[string]bool
}

// unsetError is a variable that has no value.
type unsetError struct{ name string }

func (e *unsetError) Error() string { return fmt.Sprintf("${%s} has no value", e.name) }

func hintOfVariable(err error) string {
	var unset *unsetError
	if errors.As(err, &unset) {
		return fmt.Sprintf("give it with --set %s=VALUE, or in the environment, or a value for when it is not: ${%s:-VALUE}", unset.name, unset.name)
	}
	return "$${ stands for ${ as it is"
}

// lookup finds the value of a name.
func (v *variables) lookup(name string) (string, bool) {
	v.used[name] = true
	if value, ok := v.set[name]; ok {
		return value, true
	}
	if v.env == nil {
		return "", false
	}
	return v.env(name)
}

// expand puts in the values of a text's variables, as a shell does: ${NAME}, ${NAME:-what stands there without one or with an empty
// one}, ${NAME-what stands there without one}. $${ is ${ as it is. With later the result is a text to expand once more: names that
// it tells stay as they are written, and so does $${.
func (v *variables) expand(text string, later func(name string) bool) (string, error) {
	var b strings.Builder
	quoted := "${" // as it is
	if later != nil {
		quoted = "$${"
	}
	for {
		at := strings.Index(text, "${")
		if at < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		if at > 0 && text[at-1] == '$' {
			b.WriteString(text[:at-1] + quoted)
			text = text[at+2:]
			continue
		}
		b.WriteString(text[:at])
		inside, rest, closed := strings.Cut(text[at+2:], "}")
		if !closed {
			return "", errors.New("${ has no }")
		}
		name := inside[:nameLength(inside)]
		if later != nil && later(name) {
			b.WriteString("${" + inside + "}")
			text = rest
			continue
		}
		value, err := v.value(name, inside[len(name):])
		if err != nil {
			return "", err
		}
		b.WriteString(strings.ReplaceAll(value, "${", quoted))
		text = rest
	}
}

// value is that of a name, with what stands behind the name in the braces.
func (v *variables) value(name, rest string) (string, error) {
	otherwise, emptyToo := strings.CutPrefix(rest, ":-")
	unsetOnly := false
	if !emptyToo {
		otherwise, unsetOnly = strings.CutPrefix(rest, "-")
	}
	if name == "" || rest != "" && !emptyToo && !unsetOnly || strings.Contains(rest, "${") {
		return "", fmt.Errorf("${%s%s}: want ${NAME} or ${NAME:-VALUE}", name, rest)
	}
	value, ok := v.lookup(name)
	switch {
	case rest == "" && !ok:
		return "", &unsetError{name}
	case rest != "" && !ok, emptyToo && value == "":
		return otherwise, nil
	}
	return value, nil
}

// nameLength is how many bytes at the beginning of a text are a name.
func nameLength(text string) int {
	for i, c := range text {
		switch {
		case c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', i > 0 && c >= '0' && c <= '9':
		default:
			return i
		}
	}
	return len(text)
}

// unused are the names that were given and stand nowhere.
func (v *variables) unused() []string {
	var out []string
	for name := range v.set {
		if !v.used[name] {
			out = append(out, name)
		}
	}
	sort.Strings(out)
	return out
}

// Nearest is the candidate that a misspelt name is most like, "" where none is like it.
func Nearest(name string, candidates []string) string { return nearest.Name(name, candidates) }
