package backfill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/hupsert/hupsert/partition"
)

// A mark says from what a version was made: "backfill-1:SUBJECT FILES OPTIONS". The subject is the templates, by which the marks of
// two backfills into one partition are told apart; the files are known by names, sizes and times.
const markForm = "backfill-1:"

func digest(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:10]), nil
}

// subjectOf is the digest of the templates, by absolute names.
func (p *Plan) subjectOf() (string, error) {
	var names []string
	for _, from := range p.options.Source.From {
		name, err := p.table.SourceName(from)
		if err != nil {
			return "", err
		}
		names = append(names, name)
	}
	d, err := digest(names)
	return markForm + d, err
}

// options that matter for what comes out; the others say how it is done.
func (p *Plan) outcomeOf(o partition.Options) (string, error) {
	s := p.options.Source
	return digest([]any{s.Format, s.CSV, o.Key, o.Mode, o.OrderBy, o.DeleteWhen, o.IgnoreVersion, o.AllowFloatKeys, o.SourceTimezone,
		o.TruncateTimestamps, o.Columns, o.ExceptColumns, o.KeepNull, o.NullKeys, o.SourceDuplicates, o.OldDuplicates, o.MissingColumns,
		o.NewColumns, o.StrayRows, o.Casts, o.DropEmpty, p.options.Upsert.Rejects != ""})
}

// listed is a file as a mark knows it.
type listed struct {
	URL   string
	Size  int64
	MTime time.Time
}

// settle says which partitions are done.
func (p *Plan) settle(ctx context.Context, survey *partition.Survey) error {
	var err error
	if p.subject, err = p.subjectOf(); err != nil {
		return err
	}
	options, err := p.outcomeOf(survey.Options)
	if err != nil {
		return err
	}
	p.notes = readNotes(ctx, p.table, p.subject)
	standing := make([]partition.Standing, len(p.Items))
	for i, item := range p.Items {
		standing[i] = partition.Standing{Partition: item.Partition, Exists: !item.New}
	}
	if err := survey.Stand(ctx, standing); err != nil {
		return err
	}
	for i := range p.Items {
		item, st := &p.Items[i], standing[i]
		item.old = st.Bytes
		if st.Err != nil {
			p.Warnings = append(p.Warnings, item.Partition+": what was merged before can't be told: "+st.Err.Error())
		}
		if item.State = Merge; len(item.Files) == 0 {
			item.State = Missing
			continue
		}
		files := make([]listed, len(item.Files))
		for i, f := range item.Files {
			files[i] = listed{f.URL, f.Size, f.ModTime}
		}
		d, err := digest(files)
		if err != nil {
			return err
		}
		item.mark = p.subject + " " + d + " " + options
		p.resume(item, st)
	}
	return nil
}

// AskedFor is why a partition that is done is merged again where Options.Redo says so.
const AskedFor = "done, and to be done again (--redo)"

// resume compares a partition's mark with those that it has.
func (p *Plan) resume(item *Item, st partition.Standing) {
	before, run := "", ""
	for _, m := range st.Marks {
		if strings.HasPrefix(m.Text, p.subject+" ") {
			before, run = m.Text, m.Run
			break
		}
	}
	if n, ok := p.notes[item.Partition]; ok && n.Live == st.Live { // nothing was changed then, so that there is no version
		before, run = n.Mark, n.Run
		item.again = before != item.mark // whatever mark an older version has
	}
	if before == "" {
		return
	}
	item.Run = run
	was, is := strings.Split(before, " "), strings.Split(item.mark, " ")
	switch {
	case before == item.mark && p.options.Redo:
		item.Why = AskedFor
	case before == item.mark:
		item.State = Done
	case len(was) == len(is) && was[1] == is[1]:
		item.Why = "the options are not those of run " + run
	default:
		item.Why = "its files changed since run " + run
	}
}

// notes are the partitions in which nothing was to be changed, by their paths: there is no version that could have a mark.
type notes map[string]note

type note struct {
	Mark string `json:"mark"`
	Live string `json:"live,omitempty"` // the partition as it was
	Run  string `json:"run"`
}

func noteName(subject string) string {
	return "backfill-" + strings.TrimPrefix(subject, markForm) + ".json"
}

// readNotes reads the notes of a subject. They save work: without them it is done again, and changes nothing.
func readNotes(ctx context.Context, t *partition.Table, subject string) notes {
	n := notes{}
	data, err := t.Note(ctx, noteName(subject))
	if err != nil || data == nil || json.Unmarshal(data, &n) != nil {
		return notes{}
	}
	return n
}

// remember notes down the partitions in which nothing was to be changed, with what they were then.
func (p *Plan) remember(ctx context.Context, run string, items []*Item, live []string) error {
	if len(items) == 0 {
		return nil
	}
	all := readNotes(ctx, p.table, p.subject) // another backfill may have written meanwhile
	for i, item := range items {
		all[item.Partition] = note{Mark: item.mark, Live: live[i], Run: run}
	}
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return p.table.WriteNote(ctx, noteName(p.subject), data)
}
