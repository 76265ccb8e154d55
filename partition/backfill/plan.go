package backfill

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/partition"
)

// Plan is what a backfill will do.
type Plan struct {
	Items    []Item // in the order of the ranges
	Warnings []string

	table   *partition.Table
	options Options
	ranges  []Range // in the order of the table's columns
	subject string  // the first part of marks
	notes   notes
	isNew   bool // the table is made
}

// Item is one partition of a plan.
type Item struct {
	Partition string // its path below the table
	Spec      partition.Spec
	Files     []partition.SourceFile
	Bytes     int64 // of Files
	New       bool  // the partition is not there
	// State is what becomes of it.
	State State
	// Why says, of a partition that was merged from such files before, why it is merged again.
	Why string
	Run string // by which it is done, or was merged before

	values  map[string]Value
	old     int64 // bytes of the partition
	mark    string
	rejects string
	again   bool
}

// State is what a plan says of a partition.
type State string

// The states.
const (
	Merge   State = "merge"
	Done    State = "done"    // merged before, from the same files with the same options
	Missing State = "missing" // there are no files
)

// Prepare finds out what there is to do.
func Prepare(ctx context.Context, t *partition.Table, o Options) (*Plan, error) {
	p := &Plan{table: t, options: o}
	if err := p.check(); err != nil {
		return nil, err
	}
	upsert := o.Upsert
	upsert.Partitions, upsert.Partial = nil, false
	upsert.Rejects = ""
	survey, err := t.Survey(ctx, upsert, o.DryRun)
	if err != nil {
		return nil, err
	}
	p.isNew = survey.New
	if err := p.readRanges(survey); err != nil {
		return nil, err
	}
	if err := p.items(survey); err != nil {
		return nil, err
	}
	if err := p.findFiles(ctx); err != nil {
		return nil, err
	}
	if err := p.refuseTwice(); err != nil {
		return nil, err
	}
	if err := p.refuseMissing(); err != nil {
		return nil, err
	}
	return p, p.settle(ctx, survey)
}

// check refuses options that make no sense together.
func (p *Plan) check() error {
	o := &p.options
	switch {
	case len(o.Ranges) == 0:
		return refuse(partition.ErrUsage, rangeHint, "no range: which partitions?")
	case len(o.Source.From) == 0:
		return refuse(partition.ErrUsage, "--from 'in/{dt}/*.parquet' names the files of each partition", "no source")
	case slices.Contains(o.Source.From, "-"):
		return standardInput()
	case o.Upsert.StageOnly:
		return refuse(partition.ErrUsage, "stage partitions with hupsert upsert --stage-only --partition SPEC", "stage-only: a backfill publishes as it goes")
	case o.Source.CSV.Validate() != nil:
		return refuse(partition.ErrUsage, "", "%s", strings.ReplaceAll(o.Source.CSV.Validate().Error(), "\n", "; "))
	case o.Together < 0:
		return refuse(partition.ErrUsage, "", "together %d: must not be negative", o.Together)
	}
	return nil
}

// readRanges reads the ranges, and orders them as the table's columns.
func (p *Plan) readRanges(survey *partition.Survey) error {
	if len(survey.Columns) == 0 {
		return refuse(partition.ErrUsage, "hupsert upsert merges into it", "the table has no partition columns")
	}
	names := make([]string, len(survey.Columns))
	for i, c := range survey.Columns {
		names[i] = c.Name
	}
	given := map[string]Range{}
	for _, text := range p.options.Ranges {
		r, err := ParseRange(text)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, r.Column) })
		if at < 0 {
			return refuse(partition.ErrUsage, "", "range %q: the table is partitioned by %s", text, strings.Join(names, ", "))
		}
		if _, twice := given[names[at]]; twice {
			return twoRanges(names[at])
		}
		for i := range r.Values {
			r.Values[i].Column = names[at]
		}
		r.Column = names[at]
		given[names[at]] = r
	}
	types := map[string]arrow.DataType{}
	total := 1
	for _, name := range names {
		r, ok := given[name]
		if !ok {
			return refuse(partition.ErrUsage, "add --range "+name+"=VALUE,VALUE; files with rows of several are for hupsert upsert, which sends rows where their columns say", "there is no range of %s: the values of every partition column are needed", name)
		}
		if k := r.kind(); k != nil {
			types[strings.ToLower(name)] = k
		}
		if total *= len(r.Values); total > maxPartitions {
			return refuse(partition.ErrUsage, "divide them, if they are meant", "the ranges have more than %d partitions", maxPartitions)
		}
		p.ranges = append(p.ranges, r)
	}
	survey.Retype(types)
	return nil
}

// items makes an item of each combination of values.
func (p *Plan) items(survey *partition.Survey) error {
	only, err := p.only(survey)
	if err != nil {
		return err
	}
	combinations := [][]Value{nil}
	for _, r := range p.ranges {
		var next [][]Value
		for _, c := range combinations {
			for _, v := range r.Values {
				next = append(next, append(c[:len(c):len(c)], v))
			}
		}
		combinations = next
	}
	seen := map[string]bool{}
	for _, c := range combinations {
		item := Item{values: map[string]Value{}}
		for _, v := range c {
			item.Spec = append(item.Spec, v.Pair)
			item.values[v.Column] = v
		}
		st, err := survey.Find(item.Spec)
		if err != nil {
			return p.mistyped(err)
		}
		if seen[st.Partition] || only != nil && !only[st.Partition] {
			continue
		}
		seen[st.Partition] = true
		item.Partition, item.Spec, item.New = st.Partition, st.Spec, !st.Exists
		p.Items = append(p.Items, item)
	}
	if only != nil && len(p.Items) < len(only) {
		return refuse(partition.ErrUsage, "--partition picks partitions out of the ranges", "a partition that is named is not in the range: %s", strings.Join(p.options.Upsert.Partitions, " "))
	}
	return nil
}

// only is the partitions that the options name; nil: all.
func (p *Plan) only(survey *partition.Survey) (map[string]bool, error) {
	if len(p.options.Upsert.Partitions) == 0 {
		return nil, nil
	}
	only := map[string]bool{}
	for _, text := range p.options.Upsert.Partitions {
		spec, err := partition.ParseSpec(text)
		if err != nil {
			return nil, err
		}
		st, err := survey.Find(spec)
		if err != nil {
			return nil, p.mistyped(err)
		}
		only[st.Partition] = true
	}
	return only, nil
}

// mistyped makes the fault of a value, which was given in a command line, one of usage.
func (p *Plan) mistyped(err error) error {
	if partition.KindOf(err) != partition.KindValue {
		return err
	}
	return refuse(partition.ErrUsage, "hupsert show says the types of the partition columns", "%v", err)
}

// lookersAtOnce is how many partitions' files are looked for at once.
const lookersAtOnce = 16

// findFiles lists the files of each partition.
func (p *Plan) findFiles(ctx context.Context) error {
	columns := make([]string, len(p.ranges))
	for i, r := range p.ranges {
		columns[i] = r.Column
	}
	var from []Template
	for _, text := range p.options.Source.From {
		t, err := ParseTemplate(text, columns)
		if err != nil {
			return err
		}
		if err := p.tellsApart(t); err != nil {
			return err
		}
		from = append(from, t)
	}
	rejects, err := p.rejectsTemplate(columns)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookersAtOnce)
	for i := range p.Items {
		g.Go(func() error { return p.findOf(ctx, &p.Items[i], from, rejects) })
	}
	return g.Wait()
}

// tellsApart refuses a template that names the same files for several partitions.
func (p *Plan) tellsApart(t Template) error {
	for _, r := range p.ranges {
		if len(r.Values) > 1 && len(p.Items) > 1 && !t.Names(r.Column) {
			return refuse(partition.ErrUsage, "put {"+r.Column+"} where the value stands, or merge the files with hupsert upsert, which sends rows to partitions",
				"%q names the same files for each %s", t.text, r.Column)
		}
	}
	return nil
}

func (p *Plan) rejectsTemplate(columns []string) (*Template, error) {
	if p.options.Upsert.Rejects == "" {
		return nil, nil
	}
	t, err := ParseTemplate(p.options.Upsert.Rejects, columns)
	if err != nil {
		return nil, err
	}
	for _, r := range p.ranges {
		if len(r.Values) > 1 && len(p.Items) > 1 && !t.Names(r.Column) {
			return nil, refuse(partition.ErrUsage, "--rejects 'rejects/{"+r.Column+"}.ndjson'", "%q is one file of rejects for each %s", t.text, r.Column)
		}
	}
	return &t, nil
}

// findOf lists the files of one partition.
func (p *Plan) findOf(ctx context.Context, item *Item, from []Template, rejects *Template) error {
	if rejects != nil {
		var err error
		if item.rejects, err = rejects.Expand(item.values); err != nil {
			return err
		}
	}
	for _, t := range from {
		name, err := t.Expand(item.values)
		if err != nil {
			return err
		}
		src := p.options.Source
		src.From, src.Literal = []string{name}, !t.globbed() // a value may look like a glob
		src.CSV = partition.CSV{}                            // of what is there; how it is written is looked at when it is read
		files, err := p.table.SourceFiles(ctx, src)
		switch {
		case errors.Is(err, partition.ErrNotFound), errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		}
		item.Files = append(item.Files, files...)
	}
	for _, f := range item.Files {
		item.Bytes += f.Size
	}
	return nil
}

// refuseTwice refuses a file that two partitions would take.
func (p *Plan) refuseTwice() error {
	by := map[string]*Item{}
	for i := range p.Items {
		item := &p.Items[i]
		for _, f := range item.Files {
			if other := by[f.URL]; other != nil {
				twice := "twice in " + item.Partition
				if other != item {
					twice = "in " + other.Partition + " and in " + item.Partition
				}
				return refuse(partition.ErrUsage, "each file belongs to one partition: look at the templates of --from", "%s would be merged %s", f.Name, twice)
			}
			by[f.URL] = item
		}
	}
	return nil
}

// refuseMissing refuses ranges for which there is nothing at all, and with RequireFiles those that have gaps.
func (p *Plan) refuseMissing() error {
	var missing []string
	for _, item := range p.Items {
		if len(item.Files) == 0 {
			missing = append(missing, item.Partition)
		}
	}
	switch {
	case len(missing) == len(p.Items):
		first := p.options.Source.From[0]
		if t, err := ParseTemplate(first, p.columns()); err == nil {
			if name, err := t.Expand(p.Items[0].values); err == nil {
				first = name
			}
		}
		return refuse(partition.ErrNotFound, "check --from and --range; quote the template so that the shell leaves it alone",
			"no file of any of the %d partitions is there, such as %s", len(p.Items), first)
	case len(missing) > 0 && p.options.RequireFiles:
		return refuse(partition.ErrNotFound, "--require-files asked for all of them; without it these partitions are left out", "there are no files of %s", Some(missing))
	}
	return nil
}

func (p *Plan) columns() []string {
	names := make([]string, len(p.ranges))
	for i, r := range p.ranges {
		names[i] = r.Column
	}
	return names
}

// Some lists names, of many the first ones.
func Some(names []string) string {
	const most = 5
	if len(names) <= most+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// Close closes the plan's table.
func (p *Plan) Close() error { return p.table.Close() }
