package job

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/backfill"
	"github.com/hupsert/hupsert/partition/metrics"
	"github.com/hupsert/hupsert/partition/openlineage"
	"github.com/hupsert/hupsert/partition/tracing"
)

// Job is a file that was read and found in order.
type Job struct {
	Name  string // as the file has it, else the file's own without its extension
	File  string
	Steps []*Step
	// Warnings are things that may stand in the way when the job runs here.
	Warnings []string

	hooks    []*Hook
	defaults ast.Node
}

// Step is one command of a job.
type Step struct {
	Name    string // unique in the job; by default that of the table
	Command string // the kind of step: upsert or backfill
	Table   string

	Config    partition.Config
	Source    partition.Source
	Options   partition.Options
	StageOnly bool // ends with the rows staged, as --stage-only does
	DryRun    bool // only plans
	// Backfill says which partitions, of a step of that kind. Its sources and options are the step's.
	Backfill backfill.Options
	Metrics  metrics.Target
	Lineage  openlineage.Target
	Trace    tracing.Target

	Expectations []*Expectation
	Hooks        []*Hook // the job's, then its own

	told  *openlineage.Run // while it runs
	spans *tracing.Spans   // the same
	own   []*Hook
	node  ast.Node
	lines map[string]int // of its fields, in the file
}

// Variables are what ${NAME} in a file stands for.
type Variables struct {
	Set map[string]string                         // by --set; they win
	Env func(name string) (value string, ok bool) // nil: no environment
}

// Load reads a job and checks everything that can be checked without its tables. What is wrong comes as one error that joins
// a *partition.Error with the file and the line for each.
func Load(file string, v Variables) (*Job, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(file, err)
	}
	return parse(file, data, v)
}

// unreadable is the error of a file that could not be read.
func unreadable(file string, err error) error {
	e := &partition.Error{Kind: partition.KindStorage, File: file, Err: err}
	if pe, ok := err.(*fs.PathError); ok { //nolint:errorlint // ReadFile gives nothing else
		e.Err = pe.Err
	}
	if info, serr := os.Stat(file); serr == nil && info.IsDir() {
		e.Kind, e.Err, e.Hint = partition.KindUsage, errFolder, "name the file in it; hupsert job init TABLE writes one"
	} else if os.IsNotExist(err) {
		e.Kind, e.Hint = partition.KindNotFound, "hupsert job init TABLE writes one"
	}
	return e
}

var errFolder = errors.New("is a folder; a job is a file")

// folderVariable is the folder of the job's file, so that paths can be told from there.
const folderVariable = "JOB_DIR"

// parse reads a job's text.
func parse(file string, data []byte, v Variables) (*Job, error) {
	vars := &variables{set: map[string]string{}, env: v.Env, used: map[string]bool{folderVariable: true}}
	for name, value := range v.Set {
		vars.set[name] = value
	}
	if _, given := vars.set[folderVariable]; !given {
		vars.set[folderVariable] = filepath.Dir(file)
	}
	r := &reader{file: file, vars: vars}
	j := &Job{File: file, Name: strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))}
	if root := r.parse(data); root != nil {
		j.object().read(r, root)
		for _, s := range j.Steps {
			s.Command = commandOf(s.node)
		}
		for _, s := range j.Steps {
			s.read(r, j.defaults, j.kindsUsed())
		}
		j.nameSteps()
		j.check(r)
		for _, name := range vars.unused() {
			r.problemAt(1, hintOfUnused(name, vars), "--set %s: the job has no ${%s}", name, name)
		}
	} else if len(r.problems) == 0 {
		r.problemAt(1, "hupsert job init TABLE writes one", "the file is empty")
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return j, nil
}

func hintOfUnused(name string, vars *variables) string {
	if near := Nearest(name, sortedKeys(vars.used)); near != "" && near != folderVariable {
		return "did you mean " + near + "?"
	}
	return ""
}

// object is what a file may hold.
func (j *Job) object() *object {
	return &object{what: "the job", doc: "A job of hupsert: merges into tables, in their order", members: []member{
		{name: "name", value: &Field{Name: "name", Usage: "what the job is called in reports and hooks (default: the file's name)", To: &j.Name}},
		{name: "defaults", value: custom{shape: new(Step).object().shared(kindNames()).schema(), into: func(_ *reader, n ast.Node) { j.defaults = n }}},
		{name: "hooks", value: hookList(&j.hooks)},
		{name: "steps", required: true, value: &list{what: "steps", doc: "What is done, one after the other; the first that fails ends the job", least: 1, each: func() value {
			s := &Step{}
			j.Steps = append(j.Steps, s)
			return &stepValue{s}
		}}},
	}}
}

// notShared are fields that are of one step.
var notShared = []string{"name", "command", "table", "from", "expect", "hooks"}

// shared is the fields of a step that may stand under defaults. Their lines are the step's, as long as it does not say otherwise.
// Those that only steps of other kinds have, which the job has too, are left to them.
func (o *object) shared(kinds []string) *object {
	out := &object{what: "defaults", doc: "Fields that all steps have that may have them, unless a step says otherwise", lines: o.lines, others: o.others}
	for _, m := range o.members {
		if !contains(notShared, m.name) {
			m.required = false
			out.members = append(out.members, m)
		}
	}
	for _, name := range kinds {
		for _, m := range (&Step{Command: name}).object().members {
			if _, has := out.member(m.name); !has && !contains(notShared, m.name) {
				m.value, m.required = custom{shape: m.value.schema(), into: func(*reader, ast.Node) {}}, false
				out.members = append(out.members, m)
			}
		}
	}
	return out
}

// kindsUsed are the kinds of step that the job has.
func (j *Job) kindsUsed() []string {
	var out []string
	for _, s := range j.Steps {
		if !contains(out, s.Command) {
			out = append(out, s.Command)
		}
	}
	return out
}

// stepValue notes a step. Defaults may stand behind the steps, so it is read when all of the file is known.
type stepValue struct{ step *Step }

// read implements value.
func (v *stepValue) read(_ *reader, n ast.Node) { v.step.node = n }

// schema implements value: the command that a step names says which fields it has.
func (v *stepValue) schema() schema {
	s := (&Step{Command: kinds[0].name}).object().schema()
	for _, k := range kinds[1:] {
		named := schema{"properties": schema{"command": schema{"const": k.name}}, "required": []string{"command"}}
		s = schema{"if": named, "then": (&Step{Command: k.name}).object().schema(), "else": s}
	}
	return s
}

// read takes the step's fields, behind the job's defaults. kinds are those of all steps.
func (s *Step) read(r *reader, defaults ast.Node, kinds []string) {
	o := s.object()
	o.lines = map[string]int{}
	if defaults != nil {
		o.shared(kinds).read(r, defaults)
	}
	s.lines = o.lines
	o.read(r, s.node)
}

// commandOf is the command that a step names, if it is one: by it go the fields that it may have.
func commandOf(n ast.Node) string {
	if m, ok := n.(*ast.MappingNode); ok {
		for _, e := range m.Values {
			if e.Key.GetToken().Value == "command" && contains(kindNames(), e.Value.GetToken().Value) {
				return e.Value.GetToken().Value
			}
		}
	}
	return kinds[0].name
}

// line is where a field of the step stands, else the step.
func (s *Step) line(field string) int {
	if at := s.lines[field]; at > 0 {
		return at
	}
	if entries, ok := new(reader).entries(s.node, ""); ok {
		return firstLine(entries, s.node)
	}
	return lineOf(s.node)
}

// kind is what a step can do. Its fields go into the step, faults are what makes no sense in them, and run carries it out.
type kind struct {
	name   string
	fields func(s *Step) []member
	faults func(s *Step, place func(field string, err error))
	run    func(ctx context.Context, r *runner, s *Step) error
}

// kinds are the commands that a step can be. The first is what a step is that does not say.
var kinds = []kind{
	{name: "upsert", fields: upsertMembers, faults: upsertFaults, run: runUpsert},
	{name: "backfill", fields: backfillMembers, faults: backfillFaults, run: runBackfill},
}

func kindNames() []string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = k.name
	}
	return out
}

// kind is the step's own.
func (s *Step) kind() kind {
	for _, k := range kinds {
		if k.name == s.Command {
			return k
		}
	}
	return kinds[0]
}

// upsertMembers are the fields of an upsert: its flags.
func upsertMembers(s *Step) []member {
	members := fieldMembers(MergeFields(&s.Config, &s.Source, &s.Options))
	for i := range members {
		members[i].required = members[i].name == "from"
	}
	return append(members, fieldMembers([]Field{
		{Name: "stage-only", Kind: Switch, Usage: "stop after verification: look at the staged files, then publish or discard", To: &s.StageOnly},
		{Name: "dry-run", Kind: Switch, Usage: "the same as plan: write nothing", To: &s.DryRun},
	})...)
}

// backfillMembers are the fields of a backfill: its flags.
func backfillMembers(s *Step) []member {
	members := fieldMembers(BackfillFields(&s.Config, &s.Source, &s.Options, &s.Backfill))
	for i := range members {
		members[i].required = members[i].name == "from" || members[i].name == "range"
	}
	return append(members, fieldMembers([]Field{{Name: "dry-run", Kind: Switch, Usage: "only make the plan: write nothing", To: &s.DryRun}})...)
}

// object is what a step may hold.
func (s *Step) object() *object {
	if s.Command == "" {
		s.Command = kinds[0].name
	}
	members := []member{
		{name: "name", value: &Field{Name: "name", Usage: "what the step is called in reports and hooks (default: the table's name)", To: &s.Name}},
		{name: "command", value: &Field{Name: "command", Usage: "what is done", Default: kinds[0].name, Choices: kindNames(), To: &s.Command}},
		{name: "table", required: true, value: &Field{Name: "table", Usage: "the table's folder or URL", To: &s.Table}},
	}
	members = append(members, s.kind().fields(s)...)
	members = append(members, fieldMembers(MetricsFields(&s.Metrics))...)
	members = append(members, fieldMembers(TelemetryFields(&s.Lineage, &s.Trace))...)
	members = append(members, fieldMembers(PlaceFields(&s.Config.StateDir, &s.Config.Hadoop))...)
	members = append(members,
		member{name: "expect", value: expectationList(&s.Expectations)},
		member{name: "hooks", value: hookList(&s.own)})
	return &object{what: "the step", doc: "What is done to a table; the fields are the flags of the command", members: members, others: hintOfKind}
}

// hintOfKind says which kind of step has a field.
func hintOfKind(name string) string {
	for _, k := range kindNames() {
		for _, m := range (&Step{Command: k}).object().members {
			if m.name == name {
				return "it is a field of steps with command: " + k
			}
		}
	}
	return ""
}

// tableName is a table's name without where it is: db.table, or a folder's own.
func tableName(table string) string {
	trimmed := strings.TrimRight(table, "/")
	return trimmed[strings.LastIndexByte(trimmed, '/')+1:]
}

// nameSteps gives steps without a name their table's, with a number where that is taken.
func (j *Job) nameSteps() {
	taken := map[string]bool{}
	for _, s := range j.Steps {
		taken[s.Name] = true
	}
	for _, s := range j.Steps {
		if s.Name != "" {
			continue
		}
		base := tableName(s.Table)
		s.Name = base
		for n := 2; taken[s.Name]; n++ {
			s.Name = fmt.Sprintf("%s-%d", base, n)
		}
		taken[s.Name] = true
	}
}
