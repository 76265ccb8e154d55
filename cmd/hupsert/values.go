package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/hupsert/hupsert/partition"
)

// byteSize is a flag for sizes: 512MiB, 2GB, or plain bytes.
type byteSize int64

func (b *byteSize) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<62 {
		return fmt.Errorf("want a size such as 512MiB or 2GB")
	}
	*b = byteSize(n)
	return nil
}

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return size(int64(*b))
}

func (*byteSize) Type() string { return "SIZE" }

// ratio is a flag that may be absent, which is not the same as 0.
type ratio struct{ to **float64 }

func (r ratio) Set(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v < 0 || v > 1 {
		return fmt.Errorf("want a number from 0 to 1")
	}
	*r.to = &v
	return nil
}

func (r ratio) String() string {
	if r.to == nil || *r.to == nil {
		return ""
	}
	return strconv.FormatFloat(**r.to, 'g', -1, 64)
}

func (ratio) Type() string { return "RATIO" }

// line is a command line as a shell takes it, after an indent, broken where it gets longer than a line.
func (s *session) line(indent int, args []string) string {
	text := partition.ShellQuote(s.name)
	width := indent + len(text)
	for i := 0; i < len(args); i++ {
		word := partition.ShellQuote(args[i])
		if strings.HasPrefix(word, "--") && i+1 < len(args) { // a flag stays with its value
			i++
			word += " " + partition.ShellQuote(args[i])
		}
		if width+1+len(word)+2 > lineWidth {
			text += " \\\n   "
			width = 3
		}
		text += " " + word
		width += 1 + len(word)
	}
	return text
}

// optionalCount is a flag for a number that may be absent, which is not the same as 0.
type optionalCount struct{ to **int64 }

func (c optionalCount) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("want a whole number")
	}
	*c.to = &n
	return nil
}

func (c optionalCount) String() string {
	if c.to == nil || *c.to == nil {
		return ""
	}
	return strconv.FormatInt(**c.to, 10)
}

func (optionalCount) Type() string { return "N" }

// not is a flag that is true where its field is false.
type not struct{ to *bool }

func (n not) Set(text string) error {
	v, err := strconv.ParseBool(text)
	if err != nil {
		return fmt.Errorf("want true or false")
	}
	*n.to = !v
	return nil
}

func (n not) String() string { return strconv.FormatBool(n.to == nil || !*n.to) }

func (not) Type() string { return "bool" }
