package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestReferenceIsComplete holds docs/cli.md against the commands: each flag is there, and none that is
// not.
func TestReferenceIsComplete(t *testing.T) {
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile(`--([a-z][a-z-]*)`).FindAllStringSubmatch(string(page), -1) {
		documented[m[1]] = true
	}
	known := map[string]bool{}
	s := &session{name: "hupsert", stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	for _, cmd := range s.rootCommand().Commands() {
		if !strings.Contains(string(page), "`"+cmd.Name()) {
			t.Errorf("docs/cli.md does not have the command %s", cmd.Name())
		}
		note := func(f *pflag.Flag) { known[f.Name] = true }
		cmd.LocalFlags().VisitAll(note)
		cmd.InheritedFlags().VisitAll(note)
	}
	for name := range known {
		if !documented[name] && name != "help" {
			t.Errorf("docs/cli.md does not have --%s", name)
		}
	}
	for name := range documented {
		if !known[name] {
			t.Errorf("docs/cli.md has --%s, which no command knows", name)
		}
	}
}

// TestHelpIsComplete checks what every help text promises: an example, and exit codes where a command
// works on a table.
func TestHelpIsComplete(t *testing.T) {
	s := &session{name: "hupsert", stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	for _, cmd := range s.rootCommand().Commands() {
		if cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s has no example or no summary", cmd.Name())
		}
		if strings.Contains(cmd.Use, "TABLE") && !strings.HasSuffix(cmd.Example, exitHelp) {
			t.Errorf("%s does not say its exit codes", cmd.Name())
		}
		checkWidth(t, cmd)
	}
}

func checkWidth(t *testing.T, cmd *cobra.Command) {
	t.Helper()
	for _, line := range strings.Split(cmd.Long, "\n") {
		if len(line) > lineWidth {
			t.Errorf("%s: %d columns: %s", cmd.Name(), len(line), line)
		}
	}
}
