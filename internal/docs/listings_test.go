//go:build unix

package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMentions: commands of which a page names a part are there, and have the flags that it names.
func TestMentions(t *testing.T) {
	binary, helps := build(t), map[string]string{}
	help := func(words ...string) string {
		key := strings.Join(words, " ")
		if helps[key] == "" {
			out, err := exec.CommandContext(t.Context(), binary, append(words, "--help")...).CombinedOutput()
			if err != nil {
				t.Errorf("hupsert %s --help: %v\n%s", key, err, out)
			}
			helps[key] = string(out)
		}
		return helps[key]
	}
	all := ""
	commands := regexp.MustCompile(`(?m)^  ([a-z]+)  `).FindAllStringSubmatch(help(), -1)
	for _, m := range commands {
		all += help(m[1])
	}
	checked := 0
	for _, p := range pages(t) {
		for _, m := range p.mentions {
			known, words := all, strings.Fields(strings.TrimPrefix(strings.TrimPrefix(m.text, "bin/"), "hupsert "))
			switch {
			case strings.HasPrefix(m.text, "--"), words[0] == "COMMAND", words[0] == "hupsert":
			case words[0] == "job" && len(words) > 1 && !strings.HasPrefix(words[1], "-"):
				known = help(words[0], words[1])
			default:
				known = help(words[0])
			}
			for _, flag := range regexp.MustCompile(`(?:^|[ \[])(--[a-z][a-z-]*)`).FindAllStringSubmatch(m.text, -1) {
				if !slices.Contains(hiddenFlags, flag[1]) && !regexp.MustCompile(flag[1]+`\b`).MatchString(known) {
					t.Errorf("%v\nhupsert has no %s there", m, flag[1])
				}
			}
			checked++
		}
	}
	if checked < 100 || len(commands) < 15 {
		t.Errorf("%d parts of %d commands were looked at: this test looks wrongly", checked, len(commands))
	}
}

// hiddenFlags are in no help text, but in docs/cli.md.
var hiddenFlags = []string{"--route", "--help"}

// TestListings: JSON on the pages parses, and jobs are in order.
func TestListings(t *testing.T) {
	binary := build(t)
	for _, p := range pages(t) {
		for _, l := range p.listings {
			switch {
			case l.language == "json" && !json.Valid([]byte(l.text)):
				t.Errorf("%s:%d: not valid JSON", l.page, l.line)
			case l.language == "yaml" && strings.Contains(l.text, "\nsteps:"):
				job := filepath.Join(t.TempDir(), "job.yaml")
				if err := os.WriteFile(job, []byte(l.text), 0o644); err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), binary, "job", "check", job, "--set", "DAY=2026-11-20")
				cmd.Env = append(os.Environ(), "CHAT_SECRET=x")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s:%d: %v\n%s", l.page, l.line, err, out)
				}
			}
		}
	}
}

// TestMetricsOfPages: metrics that the alerts of a page speak of are described on it.
func TestMetricsOfPages(t *testing.T) {
	for _, p := range pages(t) {
		text, err := os.ReadFile(filepath.Join(root, p.name))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range p.listings {
			for _, name := range regexp.MustCompile(`\bhupsert_\w+`).FindAllString(l.text, -1) {
				if !strings.Contains(string(text), "`"+name+"`") {
					t.Errorf("%s:%d: %s is no metric of the page", l.page, l.line, name)
				}
			}
		}
	}
}

// TestGoOfPages compiles and runs what a page shows of the library, where ctx and the folder of the table are given.
func TestGoOfPages(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a program")
	}
	binary, n := build(t), 0
	for _, p := range pages(t) {
		for _, l := range p.listings {
			if l.language != "go" {
				continue
			}
			n++
			t.Run(fmt.Sprintf("%s line %d", p.name, l.line), func(t *testing.T) { runGo(t, binary, l) })
		}
	}
	if n == 0 {
		t.Error("no page shows the library")
	}
}

// runGo puts lines into a program that tells how many rows there are afterwards.
func runGo(t *testing.T, binary string, l listing) {
	s := newSandbox(t, binary, prepareOrders("in/2026-11-20/part-0.parquet"))
	body := strings.ReplaceAll(l.text, `"/warehouse/`, fmt.Sprintf("%q+\"/", s.dir))
	text := "package main\n\nimport (\n\"context\"\n\"fmt\"\n\"os\"\n\"github.com/hupsert/hupsert/partition\"\n)\n\nfunc main() {\nctx := context.Background()\n" +
		body + "\nif err != nil { fmt.Println(err); os.Exit(1) }\nfmt.Println(report.Total.Rows.Inserted, report.Total.Rows.Updated)\n}\n"
	file, program, overlay := filepath.Join(s.dir, "main.go"), filepath.Join(s.dir, "program"), filepath.Join(s.dir, "overlay.json")
	place, err := filepath.Abs("shown/main.go")
	if err != nil {
		t.Fatal(err)
	}
	places, err := json.Marshal(map[string]any{"Replace": map[string]string{place: file}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{file: []byte(text), overlay: places} {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", program, "./shown").CombinedOutput(); err != nil {
		t.Fatalf("%s:%d: %v\n%s", l.page, l.line, err, out)
	}
	if said := s.run(t, program); said != "1 1\n" {
		t.Errorf("%s:%d: %s", l.page, l.line, said)
	}
}
