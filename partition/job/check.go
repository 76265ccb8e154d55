package job

import (
	"os/exec"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/partition"
)

// check finds what makes no sense in fields that are fine by themselves.
func (j *Job) check(r *reader) {
	names := map[string]*Step{}
	stdin := 0
	for _, s := range j.Steps {
		if first, twice := names[s.Name]; twice && s.Name != "" {
			r.problemAt(s.line("name"), "", "two steps are called %s, line %d too", s.Name, first.line("name"))
		}
		names[s.Name] = s
		if slices.Contains(s.Source.From, "-") && s.Command == kinds[0].name {
			if stdin > 0 {
				r.problemAt(s.line("from"), "", "standard input can be read once, and line %d does", stdin)
			}
			stdin = s.line("from")
		}
		s.check(r)
		for _, e := range s.Expectations {
			e.check(r)
		}
		s.Hooks = append(append([]*Hook(nil), j.hooks...), s.own...)
	}
	hooks := slices.Clone(j.hooks)
	for _, s := range j.Steps {
		hooks = append(hooks, s.own...)
	}
	for _, h := range hooks {
		h.check(r)
		j.checkProgram(h)
	}
	j.checkDuckDB()
}

// check finds what makes no sense in a step.
func (s *Step) check(r *reader) {
	place := func(field string, err error) {
		text := err.Error()
		if field == "" {
			field = text[:wordLength(text)]
		}
		r.problemAt(s.line(field), partition.Hint(err), "%s", text)
	}
	s.kind().faults(s, place)
	for _, err := range s.Lineage.Faults() {
		place("", err)
	}
	if err := s.Trace.Check(); err != nil {
		place("", err)
	}
	if err := s.Source.CSV.Validate(); err != nil {
		for _, text := range strings.Split(err.Error(), "\n") {
			place("", textError(text))
		}
	}
	if s.Table == "" && s.fine(r, "table") {
		r.problemAt(s.line("table"), "", "table is empty")
	}
	if (len(s.Source.From) == 0 || slices.Contains(s.Source.From, "")) && s.fine(r, "from") {
		r.problemAt(s.line("from"), "", "from names no source")
	}
	if s.Config.Hadoop.Principal != "" && s.Config.Hadoop.Keytab == "" {
		r.problemAt(s.line("principal"), "", "principal %s: there is no keytab with its keys", s.Config.Hadoop.Principal)
	}
}

// upsertFaults are those of an upsert.
func upsertFaults(s *Step, place func(field string, err error)) {
	o := s.Options
	o.StageOnly = s.StageOnly
	for _, err := range o.Faults() {
		field := ""
		if strings.HasPrefix(err.Error(), "stage-only and partial") {
			field = "partial"
		}
		place(field, err)
	}
	if len(s.Expectations) > 0 && o.Partial {
		place("", textError("partial and expect: expectations are of all rows that are to be published, before any of them is"))
	}
}

// backfillFaults are those of a backfill.
func backfillFaults(s *Step, place func(field string, err error)) {
	for _, err := range s.Options.Faults() {
		place("", err)
	}
	ranges, from, rejects := s.backfill().Faults()
	for _, err := range ranges {
		place("range", err)
	}
	for _, err := range from {
		place("from", err)
	}
	if rejects != nil {
		place("rejects", rejects)
	}
}

// fine reports whether a field is there, and nothing was wrong with it so far.
func (s *Step) fine(r *reader, field string) bool {
	at, said := s.lines[field]
	return said && !r.hasProblem(at)
}

// textError is an error that is but a text.
type textError string

func (e textError) Error() string { return string(e) }

// wordLength is how many bytes the name of a field takes at the beginning of a message.
func wordLength(text string) int {
	for i, c := range text {
		if (c < 'a' || c > 'z') && c != '-' {
			return i
		}
	}
	return len(text)
}

// checkProgram warns of a hook's program that is not on this machine.
func (j *Job) checkProgram(h *Hook) {
	if len(h.Command) == 0 || strings.Contains(h.Command[0], "${") {
		return
	}
	if _, err := exec.LookPath(h.Command[0]); err != nil {
		j.Warnings = append(j.Warnings, "hook "+h.String()+": there is no program "+h.Command[0]+" here")
	}
}

// checkDuckDB warns where expectations need a program that is not on this machine.
func (j *Job) checkDuckDB() {
	for _, s := range j.Steps {
		for _, e := range s.Expectations {
			if e.SQL == "" {
				continue
			}
			if _, err := exec.LookPath(duckDB); err != nil {
				j.Warnings = append(j.Warnings, "step "+s.Name+": the expectation in line "+itoa(e.line)+" needs the program duckdb, which is not here")
			}
		}
	}
}
