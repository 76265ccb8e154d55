package source

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonScanner reads one JSON text (RFC 8259) value by value. encoding/json would lose what a merge must
// not lose: repeated names in an object, broken UTF-8 and lone surrogates pass there unnoticed.
type jsonScanner struct {
	b     []byte
	i     int
	depth int
	text  []byte // of strings with escapes
}

const maxJSONDepth = 200

func (s *jsonScanner) wrong(what string) error {
	return fmt.Errorf("%w: JSON, byte %d: %s", ErrFormat, s.i+1, what)
}

func (s *jsonScanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

// peek is the first byte of the next value or sign; 0 at the end.
func (s *jsonScanner) peek() byte {
	s.space()
	if s.i == len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// take consumes a byte if it is next.
func (s *jsonScanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

func (s *jsonScanner) end() error {
	if s.peek() != 0 || s.i != len(s.b) {
		return s.wrong("more than one value on the line")
	}
	return nil
}

// literal consumes null, true or false.
func (s *jsonScanner) literal(word string) error {
	if !bytes.HasPrefix(s.b[s.i:], []byte(word)) {
		return s.wrong("no value")
	}
	s.i += len(word)
	return nil
}

// object calls member for each name, which consumes the value. The name is valid until then.
func (s *jsonScanner) object(member func(name []byte) error) error {
	if !s.take('{') {
		return s.wrong("an object is expected")
	}
	return s.items('}', func() error {
		if s.peek() != '"' {
			return s.wrong("a name is expected")
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return s.wrong("a colon is expected")
		}
		return member(name)
	})
}

// array calls item for each element, which consumes it.
func (s *jsonScanner) array(item func() error) error {
	if !s.take('[') {
		return s.wrong("an array is expected")
	}
	return s.items(']', item)
}

func (s *jsonScanner) items(closing byte, item func() error) error {
	if s.depth++; s.depth > maxJSONDepth {
		return s.wrong("nested too deep")
	}
	defer func() { s.depth-- }()
	if s.take(closing) {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.take(closing) {
			return nil
		}
		if !s.take(',') {
			return s.wrong("a comma is expected")
		}
	}
}

// skip consumes a value of any kind and returns its text.
func (s *jsonScanner) skip() ([]byte, error) {
	first := s.peek()
	start := s.i
	var err error
	switch {
	case first == '{':
		err = s.object(func([]byte) error { _, err := s.skip(); return err })
	case first == '[':
		err = s.array(func() error { _, err := s.skip(); return err })
	case first == '"':
		_, err = s.str()
	case first == 'n':
		err = s.literal("null")
	case first == 't':
		err = s.literal("true")
	case first == 'f':
		err = s.literal("false")
	default:
		_, err = s.number()
	}
	return s.b[start:s.i], err
}

// number consumes a number and returns it as written.
func (s *jsonScanner) number() ([]byte, error) {
	start := s.i
	s.one('-')
	switch whole := s.digits(); {
	case whole == 0:
		return nil, s.wrong("no value")
	case whole > 1 && s.b[s.i-whole] == '0':
		return nil, s.wrong("a number starts with 0")
	}
	if s.one('.') && s.digits() == 0 {
		return nil, s.wrong("no digit after the point")
	}
	if s.one('e') || s.one('E') {
		_ = s.one('+') || s.one('-')
		if s.digits() == 0 {
			return nil, s.wrong("no digit in the exponent")
		}
	}
	return s.b[start:s.i], nil
}

func (s *jsonScanner) one(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *jsonScanner) digits() (n int) {
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i, n = s.i+1, n+1
	}
	return n
}

// str consumes a string and returns its value, valid until the next one.
func (s *jsonScanner) str() ([]byte, error) {
	s.i++
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			value := s.b[start:s.i]
			if !utf8.Valid(value) {
				return nil, s.wrong("a string is not UTF-8")
			}
			s.i++
			return value, nil
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return nil, s.wrong("a control character in a string")
		}
		s.i++
	}
	return nil, s.wrong("a string is not closed")
}

func (s *jsonScanner) escaped(start int) ([]byte, error) {
	s.text = append(s.text[:0], s.b[start:s.i]...)
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			if !utf8.Valid(s.text) {
				return nil, s.wrong("a string is not UTF-8")
			}
			s.i++
			return s.text, nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		case c < ' ':
			return nil, s.wrong("a control character in a string")
		default:
			s.text = append(s.text, c)
			s.i++
		}
	}
	return nil, s.wrong("a string is not closed")
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (s *jsonScanner) escape() error {
	if s.i+1 >= len(s.b) {
		return s.wrong("a string is not closed")
	}
	if c := s.b[s.i+1]; c != 'u' {
		plain, ok := escapes[c]
		if !ok {
			return s.wrong("an unknown escape")
		}
		s.text = append(s.text, plain)
		s.i += 2
		return nil
	}
	r, err := s.unit()
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(r) {
		low, err := s.unit()
		if r = utf16.DecodeRune(r, low); err != nil || r == utf8.RuneError {
			return s.wrong("half of a surrogate pair")
		}
	}
	s.text = utf8.AppendRune(s.text, r)
	return nil
}

// unit reads \uXXXX.
func (s *jsonScanner) unit() (rune, error) {
	if len(s.b)-s.i < 6 || s.b[s.i] != '\\' || s.b[s.i+1] != 'u' {
		return 0, s.wrong("four hexadecimal digits are expected")
	}
	v, err := strconv.ParseUint(string(s.b[s.i+2:s.i+6]), 16, 16)
	if err != nil {
		return 0, s.wrong("four hexadecimal digits are expected")
	}
	s.i += 6
	return rune(v), nil
}
