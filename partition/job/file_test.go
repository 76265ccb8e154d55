package job

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/partition"
)

func parsed(t *testing.T, text string, env map[string]string, set map[string]string) (*Job, error) {
	t.Helper()
	return parse("jobs/night.yaml", []byte(text), Variables{Set: set, Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
}

// TestEveryFieldIsRead gives every field of a step a value, and looks where it goes.
func TestEveryFieldIsRead(t *testing.T) {
	var blank Step
	fields := append(MergeFields(&blank.Config, &blank.Source, &blank.Options), PlaceFields(&blank.Config.StateDir, &blank.Config.Hadoop)...)
	for _, f := range fields {
		var s Step
		for _, own := range append(MergeFields(&s.Config, &s.Source, &s.Options), PlaceFields(&s.Config.StateDir, &s.Config.Hadoop)...) {
			if own.Name != f.Name {
				continue
			}
			text := map[Kind]string{Text: "x", Columns: "a, b", Texts: "a,b", Switch: "true", Negated: "false", Count: "7", Size: "2KiB", Duration: "3m", Ratio: "0.5"}[f.Kind]
			if len(f.Choices) > 0 {
				text = f.Choices[len(f.Choices)-1]
			}
			r := &reader{vars: &variables{used: map[string]bool{}}}
			root := r.parse([]byte("- " + text))
			items, _ := r.items(root, "")
			own.read(r, items[0])
			if err := r.err(); err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
			var got any = reflect.ValueOf(own.To).Elem().Interface()
			if p := reflect.ValueOf(got); p.Kind() == reflect.Pointer {
				got = p.Elem().Interface()
			}
			want := map[Kind]any{Text: text, Columns: []string{"a", "b"}, Texts: []string{"a,b"}, Switch: true, Negated: true, Size: int64(2048), Duration: 3 * time.Minute, Ratio: 0.5}[f.Kind]
			if f.Kind == Count {
				if n := reflect.ValueOf(got).Int(); n != 7 {
					t.Errorf("%s is %v", f.Name, got)
				}
			} else if !reflect.DeepEqual(got, want) {
				t.Errorf("%s is %v, want %v", f.Name, got, want)
			}
		}
		if reflect.DeepEqual(s, blank) {
			t.Errorf("%s goes nowhere", f.Name)
		}
	}
}

// TestEveryOptionIsAField: what a caller of the library can say of a merge, a job can say too.
func TestEveryOptionIsAField(t *testing.T) {
	var s Step
	told := map[any]bool{}
	for _, f := range append(MergeFields(&s.Config, &s.Source, &s.Options), PlaceFields(&s.Config.StateDir, &s.Config.Hadoop)...) {
		told[reflect.ValueOf(f.To).Pointer()] = true
	}
	elsewhere := []string{"StageOnly", "Command", "Stdin", "Literal", "Logger", "Observer", "Progress", "Tracer", "FS", "Now"} // of a step, or of the runner
	var look func(name string, v reflect.Value)
	look = func(name string, v reflect.Value) {
		for i := range v.NumField() {
			field := v.Type().Field(i)
			switch {
			case !field.IsExported() || slices.Contains(elsewhere, field.Name):
			case field.Type.Kind() == reflect.Struct:
				look(name+"."+field.Name, v.Field(i))
			case !told[v.Field(i).Addr().Pointer()]:
				t.Errorf("%s.%s is no field of a step", name, field.Name)
			}
		}
	}
	look("Options", reflect.ValueOf(&s.Options).Elem())
	look("Source", reflect.ValueOf(&s.Source).Elem())
	look("Config", reflect.ValueOf(&s.Config).Elem())
}

// TestDefaults: a step has what is under defaults, unless it says otherwise, wherever in the file they stand.
func TestDefaults(t *testing.T) {
	j, err := parsed(t, `
steps:
  - {table: /w/a, from: x}
  - {table: /w/a/, from: [y, z], key: [own], retry: 1}
  - {table: 'hive://h/db.t', from: "${JOB_DIR}/x"}
defaults: {key: "k, l", retry: 5, memory: 1GiB}
`, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range j.Steps {
		names = append(names, s.Name)
		if s.Options.Memory != 1<<30 {
			t.Errorf("%s has memory %d", s.Name, s.Options.Memory)
		}
	}
	if got := strings.Join(names, " "); got != "a a-2 db.t" || j.Name != "night" {
		t.Errorf("steps %s of %s", got, j.Name)
	}
	if k := j.Steps[0].Options; !slices.Equal(k.Key, []string{"k", "l"}) || k.Retry != 5 {
		t.Errorf("the first: %v, %d", k.Key, k.Retry)
	}
	if k := j.Steps[1].Options; !slices.Equal(k.Key, []string{"own"}) || k.Retry != 1 {
		t.Errorf("the second: %v, %d", k.Key, k.Retry)
	}
	if from := j.Steps[2].Source.From; !slices.Equal(from, []string{"jobs/x"}) {
		t.Errorf("from %v", from)
	}
	_, err = parsed(t, "defaults: {kye: a, from: x}\nsteps:\n  - {table: a, from: x}\n  - {table: b, from: x}\n", nil, nil)
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), `defaults has no field "kye"`) || !strings.Contains(err.Error(), `defaults has no field "from"`) {
		t.Errorf("bad defaults: %v", err)
	}
}

// TestVariables: the values of a text's variables.
func TestVariables(t *testing.T) {
	v := &variables{set: map[string]string{"A": "set", "EMPTY": "", "ODD": "x${A}"}, env: func(name string) (string, bool) { return "env", name == "A" || name == "B" }, used: map[string]bool{}}
	for text, want := range map[string]string{
		"": "", "$A $1 {A} }": "$A $1 {A} }", "${A}": "set", "${B}": "env", "a${A}b${B}c": "asetbenvc", "${EMPTY}": "", "${EMPTY:-x}": "x", "${EMPTY-x}": "",
		"${C:-x y}": "x y", "${C-}": "", "${C:-}": "", "${C:--5}": "-5", "$${A}": "${A}", "$$${A}": "$${A}", "${ODD}": "x${A}", "${A}$": "set$",
	} {
		if got, err := v.expand(text, nil); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"${C}", "${", "${}", "${A b}", "${1}", "${A:+x}", "${A:?x}", "${C:-${A}}"} {
		if got, err := v.expand(text, nil); err == nil {
			t.Errorf("%s is %q", text, got)
		}
	}
	// What is expanded twice is once what it says.
	later := func(name string) bool { return strings.HasPrefix(name, "L_") }
	for text, want := range map[string]string{"${L_X} ${A}": "late set", "$${L_X}": "${L_X}", "${ODD}": "x${A}", "${L_X:-y}": "late"} {
		once, err := v.expand(text, later)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := fill(once, map[string]string{"L_X": "late"}, nil); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := (&Step{}).object().names()
	for name, want := range map[string]string{"form": "from", "tabel": "table", "max-delete-ration": "max-delete-ratio", "orderby": "order-by", "Order_By": "order-by",
		"lockwait": "lock-wait", "dryrun": "dry-run", "xyzzy": "", "rout": ""} {
		if got := Nearest(name, names); got != want {
			t.Errorf("%s is taken for %q, want %q", name, got, want)
		}
	}
}

// TestMalformed: nothing that is no job makes the reader fall over, and every problem has a line.
func TestMalformed(t *testing.T) {
	for _, text := range []string{"[]", "a", "5", "null", "{", "\t", "steps:", "steps: {}", "steps: []", "steps: [null]", "steps: [[]]", "steps: [{}]", "steps: [a: [b: c]]",
		"? [a]\n: b", "? {a: b}\n: c", "<<: *x", "&a steps: []", "!!str steps: 5", "steps: !!seq []", "\xff\xfe", "a: \"\\x\"", "- - -", "steps: [{table: a, from: b, hooks: [{on: failed, command: ''}]}]", "steps: [{table: a, from: b, hooks: [{on: failed, command: \"${JOB_DIR-}\"}, {on: failed, command: ' '}]}]",
		"steps: [{table: a, from: b, expect: [{sql: ''}]}]", "steps: [{table: a, from: b, expect: [{not_null: []}]}]", "steps: [{table: '', from: b}]", "steps: [{table: a, from: []}]", "'", "%YAML 9", "...",
		"steps: [{table: a, from: b, expect: [{between: 5}, {sql: }, null, {accepted_values: {column: a, values: b}}], hooks: [{on: [], command: []}]}]"} {
		_, err := parsed(t, text, nil, nil)
		if err == nil {
			t.Errorf("%q is taken", text)
			continue
		}
		for _, one := range partition.SplitErrors(err) {
			var e *partition.Error
			if !asError(one, &e) || e.Line < 1 || e.Kind != partition.KindUsage || e.File != "jobs/night.yaml" {
				t.Errorf("%q: %v has no place", text, one)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("steps:\n  - {table: a, from: b, expect: [{not_null: c}], hooks: [{on: failed, url: 'http://x/${HUPSERT_STEP}'}]}\n")
	f.Add("defaults: {retry: ${N:-1}}\nsteps: [{table: a, from: [b]}]")
	f.Fuzz(func(t *testing.T, text string) {
		j, err := parsed(t, text, map[string]string{"N": "2"}, nil)
		if err == nil && len(j.Steps) == 0 {
			t.Errorf("a job of no steps")
		}
	})
}

// TestSchemaIsCurrent: the committed schema is the one that the command prints. UPDATE_SCRIPTS=1 writes it.
func TestSchemaIsCurrent(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "docs", filepath.Base(SchemaURL))
	if os.Getenv("UPDATE_SCRIPTS") != "" {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != string(want) {
		t.Errorf("%s is not what hupsert job schema prints (%v); write it with UPDATE_SCRIPTS=1 go test ./partition/job -run TestSchemaIsCurrent", file, err)
	}
}

// TestSchemaSaysFieldsOnce: what steps and defaults have in common is a definition, and all that is referred to is there.
func TestSchemaSaysFieldsOnce(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Definitions map[string]json.RawMessage
		Properties  struct {
			Defaults struct{ Properties map[string]json.RawMessage }
			Steps    struct {
				Items struct {
					Then, Else struct{ Properties map[string]json.RawMessage }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	items, references := s.Properties.Steps.Items, 0
	said := map[string]bool{}
	for _, fields := range []map[string]json.RawMessage{s.Definitions, items.Else.Properties, items.Then.Properties, s.Properties.Defaults.Properties} {
		for name, field := range fields {
			var to struct {
				Ref string `json:"$ref"`
			}
			if err := json.Unmarshal(field, &to); err != nil {
				t.Fatal(err)
			}
			var plain bytes.Buffer
			if err := json.Compact(&plain, field); err != nil {
				t.Fatal(err)
			}
			switch {
			case to.Ref != "":
				references++
				if to.Ref != "#/definitions/"+name || s.Definitions[name] == nil {
					t.Errorf("%s refers to %s, which is not there", name, to.Ref)
				}
			case said[name+plain.String()]:
				t.Errorf("%s is written out twice: %s", name, field)
			}
			said[name+plain.String()] = true
		}
	}
	if references < 150 {
		t.Errorf("%d references: some were not looked at", references)
	}
}

// TestInitIsInOrder: what init writes is a job, also when all that stands in comments is taken in.
func TestInitIsInOrder(t *testing.T) {
	for name, d := range map[string]*partition.Description{
		"bare":  {Table: "/w/t"},
		"plain": {Table: "./it's: a #table", Columns: []partition.ColumnInfo{{Name: "id", Type: "bigint"}, {Name: "na me", Type: "string"}}},
		"whole": {Table: "hive://h:9083/db.t", Key: []string{"id", "true"}, OrderBy: []string{"v:desc"}, PartitionBy: []partition.ColumnInfo{{Name: "dt", Type: "date"}, {Name: "region", Type: "string"}},
			Columns: []partition.ColumnInfo{{Name: "id", Type: "bigint"}, {Name: "amount", Type: "decimal(9,2)"}, {Name: "state", Type: "string"}}},
	} {
		text := Init(d)
		j, err := parsed(t, text, nil, nil)
		if err != nil || len(j.Steps) != 1 || j.Steps[0].Table != d.Table {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		var taken []string
		for i, line := range strings.Split(text, "\n") {
			bare := strings.Replace(line, "# ", "", 1)
			if word, _, _ := strings.Cut(strings.TrimSpace(bare), ":"); i > 3 && strings.Contains(line, "#") && (!strings.Contains(word, " ") || strings.HasPrefix(word, "- ")) {
				line = bare
				if strings.HasPrefix(line, "#") { // of hooks: two blanks stand behind the mark
					line = strings.Replace(line, "#", " ", 1)
				}
			}
			taken = append(taken, line)
		}
		whole := strings.Join(taken, "\n")
		if len(d.Key) == 0 {
			whole = strings.ReplaceAll(whole, "\n    key: [id]\n", "\n")
		}
		if _, err := parsed(t, whole, map[string]string{"DAY": "2026-11-20", "FIRST": "2026-11-01", "LAST": "2026-11-20"}, nil); err != nil {
			t.Errorf("%s with its comments: %v\n%s", name, err, whole)
		}
	}
}

// TestWrittenJobs: the jobs of the documentation and the example are in order.
func TestWrittenJobs(t *testing.T) {
	page, err := os.ReadFile("../../docs/jobs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	set := map[string]string{"DAY": "2026-11-20", "CHAT_SECRET": "x"}
	j, err := parsed(t, text, nil, set)
	if err != nil || len(j.Steps) != 2 || len(j.Steps[0].Expectations) != 2 || len(j.Steps[1].Hooks) != 2 {
		t.Errorf("docs/jobs.md: %+v, %v", j, err)
	}
	for _, name := range (&Hook{}).object().names() {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/jobs.md does not have %s of hooks", name)
		}
	}
	for _, name := range slices.Concat(expectationNames, sortedKeys(hookValues(OnNoop, &StepReport{}, ""))) {
		if !strings.Contains(string(page), "`"+name) {
			t.Errorf("docs/jobs.md does not have %s", name)
		}
	}
	if _, err := Load("../../examples/job/orders.yaml", Variables{Set: map[string]string{"DAY": "2026-11-20", "WAREHOUSE": "w"}}); err != nil {
		t.Error(err)
	}
}
