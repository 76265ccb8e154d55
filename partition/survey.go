package partition

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/storage/swap"
)

// SourceFile is one file of a source, as it was listed.
type SourceFile struct {
	URL     string // by which files are told apart: absolute; "" of standard input
	Name    string // as the user would name it
	Size    int64
	ModTime time.Time
}

// SourceFiles lists what a run would read, in its order. Nothing is opened whose name says its format.
func (t *Table) SourceFiles(ctx context.Context, src Source) ([]SourceFile, error) {
	files, err := src.files(ctx, t.storages, t.place())
	if err != nil {
		return nil, locate(err, "", StepSource)
	}
	out := make([]SourceFile, len(files))
	for i, f := range files {
		out[i] = f.described()
	}
	return out, nil
}

// described is the file as others are told of it.
func (f *sourceFile) described() SourceFile {
	d := SourceFile{Name: f.name(), Size: f.info.Size, ModTime: f.info.ModTime.UTC()}
	if f.stdin == nil {
		d.URL = f.url()
	}
	return d
}

// SourceName is the absolute name of what a source's From names.
func (t *Table) SourceName(from string) (string, error) {
	at, err := t.storages.find(from)
	return at.url(), locate(err, "", StepSource)
}

// Survey is a table's partitions as they are listed now, to find those that specs mean.
type Survey struct {
	// Columns are the partition columns. Declared says whether their types are; else they are taken from values.
	Columns  []Column
	Declared bool
	New      bool // there is no table yet
	// Options are those of a run, with what the table's configuration declares.
	Options Options
	table   *Table
	layout  *layout
}

// Survey lists the partitions for a run with these options, and checks the options. What interrupted runs left is ended first, unless
// nothing may be written.
func (t *Table) Survey(ctx context.Context, o Options, dry bool) (*Survey, error) {
	r, err := t.start(ctx, o, dry)
	if err != nil {
		return nil, err
	}
	if err := r.open(ctx); err != nil {
		return nil, locate(err, "", StepOpen)
	}
	return &Survey{Columns: r.layout.columns, Declared: len(r.config.PartitionBy) > 0 || r.isNew, New: r.isNew, Options: r.options, table: t, layout: r.layout}, nil
}

// Retype gives columns whose types are not declared those of values, by name in small letters, where every partition
// that is there has a value of the type: so 5 finds the folder 05.
func (s *Survey) Retype(types map[string]arrow.DataType) {
	if !s.Declared {
		s.layout.retype(types)
	}
}

// Standing is a partition as it stands.
type Standing struct {
	Partition string // its path below the table
	Spec      Spec   // with values as the path has them
	Exists    bool
	Bytes     int64
	Marks     []Standings
	Live      string // tells whether the partition is still what it was; "" where it is not there
	Err       error  // its history can't be read
}

// Standings is a mark that was left with a version which the live rows have come by.
type Standings struct {
	Text string
	Run  string
	Time time.Time
}

// Find gives the partition that a spec of all partition columns means.
func (s *Survey) Find(spec Spec) (Standing, error) {
	canonical, err := canonicalSpec(s.Columns, spec)
	if err != nil {
		return Standing{}, err
	}
	if len(canonical) < len(s.Columns) {
		return Standing{}, fault(ErrUsage, "partition %s: a value of every partition column is needed (%s)", spec, columnNames(s.Columns))
	}
	at, exists, err := s.layout.find(canonical)
	if err != nil {
		return Standing{}, err
	}
	st := Standing{Partition: at, Spec: canonical, Exists: exists}
	if exists { // the folder may spell it otherwise
		st.Spec, err = ParsePath(at)
	} else if !s.Declared {
		// Nothing says the type to the run that makes it, so it is named as it is spelled.
		st.Spec, st.Partition = spec, spec.Path()
	}
	return st, err
}

// Stand fills in what a partition holds, and what it was made of.
func (s *Survey) Stand(ctx context.Context, list []Standing) error {
	var there []string
	for _, st := range list {
		if st.Exists {
			there = append(there, st.Partition)
		}
	}
	if len(there) == 0 {
		return nil
	}
	inputs, err := s.table.store.InputsOf(ctx, there)
	if err != nil {
		return locate(swapError(err), "", StepList)
	}
	for i := range list {
		st := &list[i]
		in, ok := inputs[st.Partition]
		if !ok {
			continue
		}
		for _, f := range in.Files {
			st.Bytes += f.Size
		}
		st.Live = fingerprintOf(in)
		// Where it can't be read, the run says so: this one only wants to know what is done.
		st.Marks, st.Err = s.table.marks(ctx, st.Partition, in)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// marks are those of the versions that live rows have come by, the last first.
func (t *Table) marks(ctx context.Context, partition string, now swap.Inputs) ([]Standings, error) {
	var out []Standings
	for v, err := range t.store.Lineage(ctx, partition, now) {
		if err != nil {
			return nil, err
		}
		if v.Mark != "" {
			out = append(out, Standings{Text: v.Mark, Run: v.Run, Time: v.Time})
		}
		if v.Mode == string(Replace) {
			break // nothing of those before is left
		}
	}
	return out, nil
}

// sameSubject reports whether two marks tell of the same inputs, at whatever time: what stands before the first blank.
func sameSubject(a, b string) bool {
	a, _, _ = strings.Cut(a, " ")
	b, _, _ = strings.Cut(b, " ")
	return a == b
}

// fingerprintOf tells a partition's files; "" where it is not there.
func fingerprintOf(in swap.Inputs) string {
	if in.Absent {
		return ""
	}
	var b strings.Builder
	b.WriteString(in.Folder + "\n")
	for _, f := range in.Files {
		b.WriteString(f.Name + "\t" + f.ID + "\t" + f.ModTime.UTC().Format(time.RFC3339Nano) + "\n")
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:12])
}

// Note reads what WriteNote wrote; nil where there is none.
func (t *Table) Note(ctx context.Context, name string) ([]byte, error) {
	data, err := t.store.ReadNote(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// WriteNote keeps a small file with the table's state, in place of one of that name: whole or not at all.
func (t *Table) WriteNote(ctx context.Context, name string, data []byte) error {
	return t.store.WriteNote(ctx, name, data)
}
