package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	jobfile "github.com/hupsert/hupsert/partition/job"
)

// TestFlagsAreFields holds the flags of upsert against the fields of a job's step: each is the other, with the same default.
func TestFlagsAreFields(t *testing.T) {
	text, err := jobfile.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Properties struct {
			Steps struct {
				Items struct {
					Properties map[string]struct{ Default any }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	fields := s.Properties.Steps.Items.Properties
	quiet := &session{name: "hupsert", stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	root := quiet.rootCommand()
	upsert, _, err := root.Find([]string{"upsert"})
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]bool{"name": true, "command": true, "table": true, "expect": true, "hooks": true} // of steps alone
	upsert.LocalFlags().VisitAll(func(f *pflag.Flag) {
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
	for name := range fields {
		if !flags[name] {
			t.Errorf("the field %s is no flag of upsert", name)
		}
	}
	if len(flags) < 50 {
		t.Errorf("%d flags: some were not looked at", len(flags))
	}
}
