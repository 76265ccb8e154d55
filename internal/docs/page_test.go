package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// command is a command line that a page shows.
type command struct {
	page string
	line int
	text string // as it is written: with comments, and over several lines where it goes on behind a backslash
	// shows are the lines that the page shows of what it says.
	shows []string
	// inline is a command in running text.
	inline bool
}

// listing is a block that is none of commands, by its language.
type listing struct {
	page, language string
	line           int
	text           string
}

// page is what a document shows in code.
type page struct {
	name     string
	commands []command // in the document's order
	listings []listing
	mentions []mention
}

// mention is code in running text that is part of a command, or how its parts are written.
type mention struct {
	page string
	line int
	text string
}

func (m mention) String() string { return fmt.Sprintf("%s:%d: %s", m.page, m.line, m.text) }
func (c command) String() string { return fmt.Sprintf("%s:%d: %s", c.page, c.line, c.text) }

// pages are the documents whose commands a reader may type.
func pages(t *testing.T) (list []page) {
	t.Helper()
	names := []string{"README.md", "CONTRIBUTING.md"}
	for _, pattern := range []string{"docs/*.md", "examples/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			name, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, filepath.ToSlash(name))
		}
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		p, err := readPage(name, string(text))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// listingLanguages are the languages of fenced blocks that have no commands; blocks of no language have.
var listingLanguages = []string{"go", "json", "yaml", "ini", "dockerfile", "python", "text"}

// readPage takes a document apart: fenced blocks, blocks that are set off by four blanks, and code in running text.
func readPage(name, text string) (page, error) {
	p := page{name: name}
	lines := strings.Split(text, "\n")
	running := slices.Clone(lines) // without its blocks
	for at := 0; at < len(lines); at++ {
		begin, language, end := at, "", at
		switch {
		case strings.HasPrefix(lines[at], "```"):
			language = strings.TrimPrefix(lines[at], "```")
			end = at + 1 + slices.IndexFunc(lines[at+1:], func(line string) bool { return strings.HasPrefix(line, "```") })
			if end == at {
				return p, fmt.Errorf("%s:%d: a block without an end", name, at+1)
			}
			begin++
		case strings.HasPrefix(lines[at], "    ") && (at == 0 || strings.TrimSpace(lines[at-1]) == ""):
			for end < len(lines) && (strings.HasPrefix(lines[end], "    ") || strings.TrimSpace(lines[end]) == "") {
				end++
			}
		default:
			continue
		}
		block := slices.Clone(lines[begin:end])
		for i := at; i <= end && i < len(lines); i++ {
			running[i] = ""
		}
		if begin == at {
			at = end - 1
			for i := range block {
				block[i] = strings.TrimPrefix(block[i], "    ")
			}
		} else {
			at = end
		}
		if err := p.block(begin+1, language, block); err != nil {
			return p, err
		}
	}
	p.inline(strings.Join(running, "\n"))
	slices.SortStableFunc(p.commands, func(a, b command) int { return a.line - b.line })
	return p, nil
}

// block reads one of commands: each line is one, or those behind a dollar sign are, and others are what they say.
func (p *page) block(line int, language string, lines []string) error {
	text := strings.TrimSpace(strings.Join(lines, "\n"))
	switch {
	case slices.Contains(listingLanguages, language):
		p.listings = append(p.listings, listing{p.name, language, line, text})
		return nil
	case language != "" && language != "sh" && language != "console":
		return fmt.Errorf("%s:%d: a block in %s: say in listingLanguages whether it has commands", p.name, line, language)
	case notCommands[strings.TrimSpace(strings.SplitN(text, "\n", 2)[0])] != "":
		return nil
	}
	dollars := strings.HasPrefix(text, "$ ")
	more := false
	for i, l := range lines {
		typed, begins := strings.CutPrefix(l, "$ ")
		last := len(p.commands) - 1
		switch {
		case more:
			p.commands[last].text += "\n" + l
		case begins, !dollars && strings.TrimSpace(l) != "":
			p.commands = append(p.commands, command{page: p.name, line: line + i, text: typed})
			begins = true
		case strings.TrimSpace(l) != "":
			p.commands[last].shows = append(p.commands[last].shows, l)
		}
		more = (begins || more) && strings.HasSuffix(l, `\`)
	}
	return nil
}

var (
	span = regexp.MustCompile("`([^`]+)`")
	// words is code of two words, of which the first could be a program's name.
	words = regexp.MustCompile(`^(?:[A-Za-z_]+=\S+ )*([./a-z][./\w-]*) \S`)
	// open has parts that the reader is to put something into.
	open = regexp.MustCompile(`(^|[\s=])\[|\.\.\.|\b[A-Z]{3,}\b`)
)

// inline reads code in running text.
func (p *page) inline(text string) {
	for _, m := range span.FindAllStringSubmatchIndex(text, -1) {
		code := strings.ReplaceAll(strings.ReplaceAll(text[m[2]:m[3]], "\n", " "), `\|`, "|")
		line := 1 + strings.Count(text[:m[0]], "\n")
		parts := words.FindStringSubmatch(code)
		switch {
		case strings.HasPrefix(code, "--"), parts != nil && parts[1] != "hupsert" && isSubcommand(parts[1]):
			p.mentions = append(p.mentions, mention{p.name, line, code})
		case parts == nil, notCommands[code] != "":
		case strings.TrimPrefix(parts[1], "bin/") == "hupsert" && unfinished(code):
			p.mentions = append(p.mentions, mention{p.name, line, code})
		default:
			p.commands = append(p.commands, command{page: p.name, line: line, text: code, inline: true})
		}
	}
}

// unfinished reports whether a command of hupsert lacks what a person would put in: a table, or what stands in capitals.
func unfinished(code string) bool {
	if open.MatchString(code) || !strings.Contains(code, " ") {
		return true
	}
	fields := strings.Fields(code)
	for _, field := range fields[2:] {
		if !strings.HasPrefix(field, "-") && !strings.Contains(field, "=") {
			return false
		}
	}
	return true
}
