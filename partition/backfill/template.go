package backfill

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hupsert/hupsert/partition"
)

// Template is a name in which values of partition columns stand for placeholders: in/{dt}/*.parquet, in/{dt:%Y%m%d}/{region}.csv.
type Template struct {
	text   string
	pieces []piece
}

// piece is a text, or a placeholder.
type piece struct {
	text   string
	column string // as the range spells it; "": a text
	format string
}

// ParseTemplate reads a template for ranges of these columns. Braces with a comma are a glob's alternatives, and stay.
func ParseTemplate(text string, columns []string) (Template, error) {
	t := Template{text: text}
	rest, plain := text, ""
	for {
		before, after, ok := strings.Cut(rest, "{")
		plain += before
		if !ok {
			break
		}
		inside, behind, closed := strings.Cut(after, "}")
		if !closed {
			return t, refuse(partition.ErrUsage, "write {"+columns[0]+"}", "%q: a brace is not closed", text)
		}
		name, format, formatted := strings.Cut(inside, ":")
		at := slices.IndexFunc(columns, func(c string) bool { return strings.EqualFold(c, name) })
		switch {
		case at >= 0:
			if formatted && format == "" {
				return t, refuse(partition.ErrUsage, "write {"+name+"} or {"+name+":%Y%m%d}", "%q: {%s} has no format", text, inside)
			}
			t.pieces = append(t.pieces, piece{text: plain}, piece{column: columns[at], format: format})
			plain = ""
		case strings.ContainsAny(inside, ",{"):
			plain += "{" + inside + "}"
		default:
			return t, refuse(partition.ErrUsage, "ranges are given of "+strings.Join(columns, ", "), "%q: there is no range of {%s}", text, inside)
		}
		rest = behind
	}
	t.pieces = append(t.pieces, piece{text: plain})
	return t, nil
}

// Names reports whether a column has a placeholder.
func (t Template) Names(column string) bool {
	return slices.ContainsFunc(t.pieces, func(p piece) bool { return p.column == column })
}

// globbed reports whether the texts between placeholders are a glob.
func (t Template) globbed() bool {
	return slices.ContainsFunc(t.pieces, func(p piece) bool { return strings.ContainsAny(p.text, `*?[{`) })
}

// Expand puts values in.
func (t Template) Expand(values map[string]Value) (string, error) {
	var b strings.Builder
	globbed := t.globbed()
	for _, p := range t.pieces {
		b.WriteString(p.text)
		if p.column == "" {
			continue
		}
		text, err := values[p.column].format(p.format)
		if err != nil {
			return "", refuse(partition.ErrUsage, "", "%q: {%s:%s}: %v", t.text, p.column, p.format, err)
		}
		text = strings.ReplaceAll(text, "/", "%2F")
		if globbed {
			text = literal(text)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// literal makes of a text a glob that matches it and nothing else.
func literal(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(`*?[]{}\`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// format writes a value: dates as strftime does, integers as printf does.
func (v Value) format(format string) (string, error) {
	switch {
	case format == "" && v.Null:
		return partition.DefaultPartition, nil
	case format == "":
		return v.Value, nil
	case v.at != nil && !isInteger(format):
		return strftime(*v.at, format)
	case v.number != nil:
		return printf(*v.number, format)
	}
	return "", fmt.Errorf("%s is no date and no integer, which alone have formats", v.Name())
}

// isInteger reports whether a format is one of integers: %d is the day of a date.
func isInteger(format string) bool {
	return len(format) > 2 && format[0] == '%' && format[len(format)-1] == 'd' && strings.Trim(format[1:len(format)-1], "0123456789") == ""
}

// printf writes an integer by %d or %02d.
func printf(n int64, format string) (string, error) {
	if format == "%d" {
		return strconv.FormatInt(n, 10), nil
	}
	if !isInteger(format) || format[1] != '0' || len(format) > 5 {
		return "", fmt.Errorf("want %%d or %%02d for an integer")
	}
	width, err := strconv.Atoi(format[1 : len(format)-1])
	if err != nil || width > 20 {
		return "", fmt.Errorf("want %%d or %%02d for an integer")
	}
	return fmt.Sprintf("%0*d", width, n), nil
}

// strftime writes a date.
func strftime(at time.Time, format string) (string, error) {
	layouts := map[byte]string{'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'j': "002", 'b': "Jan", 'B': "January", 'F': "2006-01-02"}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch {
		case i == len(format):
			return "", fmt.Errorf("a %% stands at its end")
		case format[i] == '%':
			b.WriteByte('%')
		case layouts[format[i]] != "":
			b.WriteString(at.Format(layouts[format[i]]))
		default:
			return "", fmt.Errorf("%%%c is not known: %%Y %%y %%m %%d %%j %%b %%B %%F are", format[i])
		}
	}
	return b.String(), nil
}
