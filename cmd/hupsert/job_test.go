package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	jobfile "github.com/hupsert/hupsert/partition/job"
)

// stepFields are the fields of a step of a kind, with their defaults, as the schema has them.
func stepFields(t *testing.T, command string) map[string]struct{ Default any } {
	t.Helper()
	text, err := jobfile.Schema()
	if err != nil {
		t.Fatal(err)
	}
	type field struct{ Default any }
	type fields struct {
		Properties map[string]struct {
			field
			Ref string `json:"$ref"`
		}
	}
	var s struct {
		Definitions map[string]field
		Properties  struct {
			Steps struct {
				Items struct {
					If struct {
						Properties struct{ Command struct{ Const string } }
					}
					Then, Else fields
				}
			}
		}
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	items := s.Properties.Steps.Items
	of := items.Else
	if command == items.If.Properties.Command.Const {
		of = items.Then
	}
	out := map[string]struct{ Default any }{}
	for name, f := range of.Properties {
		if f.Ref != "" {
			f.field = s.Definitions[strings.TrimPrefix(f.Ref, "#/definitions/")]
		}
		out[name] = f.field
	}
	return out
}

// TestFlagsAreFields holds the flags of commands against the fields of a job's steps: each is the other, with the same default.
func TestFlagsAreFields(t *testing.T) {
	for _, name := range []string{"upsert", "backfill"} {
		t.Run(name, func(t *testing.T) { flagsAreFields(t, name) })
	}
}

func flagsAreFields(t *testing.T, name string) {
	fields := stepFields(t, name)
	quiet := &session{name: "hupsert", stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	root := quiet.rootCommand()
	command, _, err := root.Find([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]bool{"name": true, "command": true, "table": true, "expect": true, "hooks": true} // of steps alone
	command.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || root.PersistentFlags().Lookup(f.Name) != nil {
			return
		}
		flags[f.Name] = true
		field, ok := fields[f.Name]
		if !ok {
			t.Errorf("--%s is no field of a step", f.Name)
		}
		if text, isText := field.Default.(string); isText && text != f.DefValue {
			t.Errorf("--%s is %q by default, the field %q", f.Name, f.DefValue, text)
		}
	})
	for field := range fields {
		if !flags[field] {
			t.Errorf("the field %s is no flag of %s", field, name)
		}
	}
	if len(flags) < 50 {
		t.Errorf("%d flags: some were not looked at", len(flags))
	}
}
