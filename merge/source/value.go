package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/shred"
)

// json appends the next JSON value to a column.
func (b *builder) json(s *jsonScanner) error {
	if s.peek() == 'n' {
		if err := s.literal("null"); err != nil {
			return err
		}
		return b.null()
	}
	switch b.field.Type.(type) {
	case *arrow.StructType:
		return b.jsonStruct(s)
	case *arrow.MapType:
		return b.jsonMap(s)
	case *arrow.ListType:
		if err := s.array(func() error { return b.children[0].json(s) }); err != nil {
			return err
		}
		return b.end(b.children[0].n)
	case *arrow.NullType:
		return fmt.Errorf("%w: a value in a column of type null", shred.ErrText)
	}
	return b.jsonLeaf(s)
}

// jsonLeaf takes a string as the text of any type, numbers and bools only for types that are such; 1 and 0
// are bools too, which SQLite and MySQL write so.
func (b *builder) jsonLeaf(s *jsonScanner) error {
	switch c := s.peek(); {
	case c == '"':
		text, err := s.str()
		if err != nil {
			return err
		}
		return b.text(text)
	case untyped(b.field):
		text, err := s.skip()
		if err != nil {
			return err
		}
		return b.text(text)
	case c == '-' || c >= '0' && c <= '9':
		text, err := s.number()
		if err != nil {
			return err
		}
		if t := b.field.Type.ID(); t != arrow.BOOL && !arrow.IsInteger(t) && !arrow.IsFloating(t) && !arrow.IsDecimal(t) {
			return fmt.Errorf("%w: number %s as %s", shred.ErrText, text, b.field.Type)
		}
		return b.text(text)
	case (c == 't' || c == 'f') && b.field.Type.ID() == arrow.BOOL:
		text, err := s.skip()
		if err != nil {
			return err
		}
		return b.text(text)
	}
	text, err := s.skip()
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: JSON value %.40q as %s", shred.ErrText, text, b.field.Type)
}

func (b *builder) jsonStruct(s *jsonScanner) error {
	err := s.object(func(name []byte) error {
		c, err := b.child(string(name))
		if err != nil {
			return err
		}
		if c.n > b.n {
			return fmt.Errorf("%w: field %s occurs twice", ErrFormat, c.field.Name)
		}
		if err := c.json(s); err != nil {
			return fmt.Errorf("field %s: %w", c.field.Name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range b.children {
		if c.n > b.n {
			continue
		}
		if err := c.null(); err != nil {
			return fmt.Errorf("field %s: %w", c.field.Name, err)
		}
	}
	return b.end(0)
}

// child finds a struct's field by its name, else by the only name that is the same but for case.
func (b *builder) child(name string) (*builder, error) {
	same := func(c *builder) bool { return c.field.Name == name }
	if i := slices.IndexFunc(b.children, same); i >= 0 {
		return b.children[i], nil
	}
	var found *builder
	for _, c := range b.children {
		if strings.EqualFold(c.field.Name, name) {
			if found != nil {
				return nil, fmt.Errorf("%w: field %s is ambiguous in %s", ErrColumns, name, b.field.Type)
			}
			found = c
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: field %s is not in %s", ErrColumns, name, b.field.Type)
	}
	return found, nil
}

// jsonMap reads {"k": v, ...}, or [{"key": k, "value": v}, ...] as keys that are no text need it.
func (b *builder) jsonMap(s *jsonScanner) error {
	keys, values := b.children[0], b.children[1]
	var err error
	if s.peek() == '[' {
		err = s.array(func() error { return b.jsonEntry(s) })
	} else {
		err = s.object(func(name []byte) error {
			if keys.parse == nil {
				return fmt.Errorf("%w: a key of type %s", shred.ErrText, keys.field.Type)
			}
			if err := keys.text(name); err != nil {
				return fmt.Errorf("key: %w", err)
			}
			if err := values.json(s); err != nil {
				return fmt.Errorf("value: %w", err)
			}
			return nil
		})
	}
	if err != nil {
		return err
	}
	return b.end(keys.n)
}

func (b *builder) jsonEntry(s *jsonScanner) error {
	keys, values := b.children[0], b.children[1]
	n := keys.n
	err := s.object(func(name []byte) error {
		c := map[string]*builder{"key": keys, "value": values}[string(name)]
		if c == nil || c.n > n {
			return fmt.Errorf("%w: a map's entries have one key and one value", ErrFormat)
		}
		return c.json(s)
	})
	switch {
	case err != nil:
		return err
	case keys.n == n:
		return fmt.Errorf("%w: a map's entry without a key", ErrFormat)
	case values.n == n:
		return values.null()
	}
	return nil
}
