package source

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// charset is how text is encoded; "" is UTF-8 unless a byte order mark says otherwise.
type charset string

const (
	utf8Text    charset = "utf-8"
	latin1      charset = "latin1"
	windows1252 charset = "windows-1252"
	utf16Marked charset = "utf-16"
	utf16Little charset = "utf-16le"
	utf16Big    charset = "utf-16be"
)

func parseCharset(name string) (charset, error) {
	switch c := charset(strings.ToLower(name)); c {
	case "", utf8Text, latin1, windows1252, utf16Marked, utf16Little, utf16Big:
		return c, nil
	case "utf8", "utf-8-bom":
		return utf8Text, nil
	case "iso-8859-1":
		return latin1, nil
	case "cp1252":
		return windows1252, nil
	}
	return "", fmt.Errorf("csv-encoding %q: want utf-8, latin1, windows-1252, utf-16, utf-16le or utf-16be", name)
}

// byteOrderMarks begin a text and say how it is encoded. UTF-32's comes before UTF-16's, which begins it.
var byteOrderMarks = []struct {
	mark string
	says charset
}{{"\xEF\xBB\xBF", utf8Text}, {"\xFF\xFE\x00\x00", "utf-32"}, {"\xFF\xFE", utf16Little}, {"\xFE\xFF", utf16Big}}

// settle takes a byte order mark off the text and gives the charset that it and the user's word come to.
func (c charset) settle(r *bufio.Reader) (charset, error) {
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	for _, m := range byteOrderMarks {
		if !strings.HasPrefix(string(head), m.mark) {
			continue
		}
		switch {
		case m.says == "utf-32":
			return "", fmt.Errorf("%w: the text is UTF-32; convert it to UTF-8", ErrFormat)
		case c != "" && c != m.says && (c != utf16Marked || m.says == utf8Text):
			return "", fmt.Errorf("%w: a byte order mark says that the text is %s, not %s", ErrFormat, m.says, c)
		}
		_, err := r.Discard(len(m.mark))
		return m.says, err
	}
	switch c {
	case "":
		return utf8Text, nil
	case utf16Marked:
		if len(head) > 0 {
			return "", fmt.Errorf("%w: UTF-16 without a byte order mark; name the encoding utf-16le or utf-16be", ErrFormat)
		}
	}
	return c, nil
}

// noCharacter stands in UTF-8 for bytes that are no character of a charset. No UTF-8 has it, so that the
// row it is in is refused.
const noCharacter = 0xFF

// decode gives text as UTF-8.
func (c charset) decode(r *bufio.Reader) io.Reader {
	switch c {
	case latin1, windows1252:
		return &decoder{next: byteChars(r, c), ready: func() bool { return r.Buffered() > 0 }}
	case utf16Little:
		return &decoder{next: utf16Chars(r, binary.LittleEndian), ready: func() bool { return r.Buffered() > 3 }}
	case utf16Big:
		return &decoder{next: utf16Chars(r, binary.BigEndian), ready: func() bool { return r.Buffered() > 3 }}
	}
	return r
}

// decoder writes the characters that next gives as UTF-8; -1 is none.
type decoder struct {
	next  func() (rune, error)
	ready func() bool // the next character is there without waiting
	buf   [utf8.UTFMax]byte
	rest  []byte // of a character that did not fit
}

// Read implements io.Reader.
func (d *decoder) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(d.rest) > 0 {
			m := copy(p[n:], d.rest)
			n, d.rest = n+m, d.rest[m:]
			continue
		}
		if n > 0 && !d.ready() {
			break
		}
		char, err := d.next()
		switch {
		case err != nil:
			return n, err
		case char < 0:
			p[n] = noCharacter
			n++
		case char < utf8.RuneSelf:
			p[n] = byte(char)
			n++
		default:
			d.rest = utf8.AppendRune(d.buf[:0], char)
		}
	}
	return n, nil
}

// byteChars reads charsets with a byte for each character. Bytes that windows-1252 leaves free are no
// characters, though browsers take them for controls.
func byteChars(r *bufio.Reader, c charset) func() (rune, error) {
	var table [256]rune
	for b := range table {
		table[b] = rune(b) // Latin 1 is how Unicode begins
		if c != windows1252 || b < 0x80 || b >= 0xA0 {
			continue
		}
		if table[b] = charmap.Windows1252.DecodeByte(byte(b)); table[b] == utf8.RuneError || table[b] == rune(b) {
			table[b] = -1
		}
	}
	return func() (rune, error) {
		b, err := r.ReadByte()
		return table[b], err
	}
}

// utf16Chars reads UTF-16. Half of a pair, or of a unit, is no character; x/text would make one of it.
func utf16Chars(r *bufio.Reader, order binary.ByteOrder) func() (rune, error) {
	return func() (rune, error) {
		head, err := r.Peek(2)
		switch {
		case len(head) == 1 && errors.Is(err, io.EOF):
			_, err = r.Discard(1)
			return -1, err
		case len(head) < 2:
			return 0, err
		}
		char := rune(order.Uint16(head))
		if !utf16.IsSurrogate(char) {
			_, err = r.Discard(2)
			return char, err
		}
		if head, err = r.Peek(4); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if len(head) == 4 {
			if pair := utf16.DecodeRune(char, rune(order.Uint16(head[2:]))); pair != utf8.RuneError {
				_, err = r.Discard(4)
				return pair, err
			}
		}
		_, err = r.Discard(2)
		return -1, err
	}
}
