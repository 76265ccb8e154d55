package partition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/nearest"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/splice"
	"github.com/hupsert/hupsert/storage/stage"
)

// What counts as fragmentation: so many files, or row groups of a file, that are smaller than this. Engines
// read a few large ones faster, and open every file they list.
const (
	fewFileBytes    = 16 << 20
	manySmallFiles  = 20
	fewGroupBytes   = 1 << 20
	manySmallGroups = 20
)

// checkedPartition is what a look into a partition gave.
type checkedPartition struct {
	*checker
	leaf     leaf
	progress *merge.Progress
	findings []Finding
	missing  bool   // its folder is not there
	folder   string // that a registry said when it was listed; "" without
	files    int
	rows     int64
	bytes    int64
	good     []checkedFile // those that can be read
	bad      int
	schema   *arrow.Schema // the union of theirs, less the partition columns; nil where there is none

	ignored        int64 // statements about values that are wrong and not believed
	ignoredExample string
	small          int // files
	split          int // files of many small row groups
}

// checkedFile is a file that can be read.
type checkedFile struct {
	stage.File
	schema *arrow.Schema
}

func (p *checkedPartition) find(f Finding) {
	f.Partition = p.leaf.path
	p.findings = append(p.findings, f)
}

// dir is where the partition's files are that were listed.
func (p *checkedPartition) dir() string {
	if p.folder != "" {
		return p.folder
	}
	return p.layout.dir(p.root, p.leaf.path)
}

// checkPartition looks into one partition.
func (c *checker) checkPartition(ctx context.Context, partition string, progress *merge.Progress) (*checkedPartition, error) {
	p := &checkedPartition{checker: c, progress: progress, leaf: leaf{path: partition}}
	for _, l := range c.layout.leaves {
		if l.path == partition {
			p.leaf = l
		}
	}
	if c.layout.refuses(partition) { // why is told with the registrations
		return p, nil
	}
	inputs, err := c.store.Inputs(ctx, partition)
	if inputs.Folder != "" {
		p.folder = inputs.Folder
	}
	if err == nil && inputs.Absent {
		err = &fs.PathError{Op: "list", Path: p.dir(), Err: fs.ErrNotExist}
	}
	if err != nil {
		return p, err
	}
	data := p.sortFiles(inputs.Files)
	for _, f := range data {
		progress.Total.Add(p.work(f))
	}
	for _, f := range data {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		if err := p.checkFile(ctx, f); err != nil {
			return p, err
		}
	}
	p.tellFragments()
	p.tellIgnored()
	p.compareFiles()
	if err := p.checkStored(ctx); err != nil {
		return p, err
	}
	return p, p.checkKeys(ctx)
}

// work is how many bytes of a file are gone through, for the progress: once for its values, once for its keys.
func (p *checkedPartition) work(f stage.File) int64 {
	if !p.options.Quick && len(p.report.Key) > 0 {
		return 2 * f.Size
	}
	return f.Size
}

// knownMarks are hidden files that engines leave and need.
var knownMarks = []string{"_SUCCESS", "_committed_", "_started_", "_PARTITION_", ".hupsert.json"}

// sortFiles picks the data files of a partition and tells of others.
func (p *checkedPartition) sortFiles(files []stage.File) (data []stage.File) {
	names := map[string]bool{}
	for _, f := range files {
		names[f.Name] = true
	}
	for _, f := range files {
		of, isSum := strings.CutSuffix(strings.TrimPrefix(f.Name, "."), ".crc")
		known := slices.ContainsFunc(knownMarks, func(mark string) bool { return strings.HasPrefix(f.Name, mark) })
		switch {
		case f.Name[0] == '.' && isSum:
			if !names[of] {
				p.find(Finding{Severity: SeverityNote, Kind: FoundStrayFile, File: f.Name, Count: 1,
					Message: fmt.Sprintf("a checksum of %s, which is not there", of), Hint: "it can be removed"})
			}
		case f.Name == "_metadata", f.Name == "_common_metadata":
			p.find(Finding{Severity: SeverityNote, Kind: FoundStrayFile, File: f.Name, Count: 1,
				Message: "a summary of footers, which goes stale with every change", Hint: "hupsert leaves it out when it changes the partition; it can be removed"})
		case known:
		case hidden(f.Name):
			p.find(Finding{Severity: SeverityNote, Kind: FoundStrayFile, File: f.Name, Count: 1,
				Message: "engines leave the file out when they read, hupsert carries it along", Hint: "remove it if nothing needs it"})
		case f.Size == 0:
			p.bad++
			p.find(Finding{Severity: SeverityError, Kind: FoundEmptyFile, File: f.Name, Count: 1,
				Message: "the file is empty, so it is not Parquet", Hint: "move it out of the partition: engines fail on it, and upserts are refused"})
		case !isSymlink(f, p):
			data = append(data, f)
		}
	}
	return data
}

// isSymlink reports whether the layout's faults tell of the file already: what a link leads to is not of the table.
func isSymlink(f stage.File, p *checkedPartition) bool {
	return slices.ContainsFunc(p.report.Findings, func(found Finding) bool {
		return found.Kind == FoundLayout && found.File == path.Join(p.leaf.path, f.Name)
	})
}

// checkFile reads a file's footer, and its values unless the check is quick.
func (p *checkedPartition) checkFile(ctx context.Context, f stage.File) error {
	if p.options.Quick && len(p.report.Key) == 0 {
		defer func() { p.progress.Probed.Add(f.Size) }()
	}
	file, closer, err := openParquet(ctx, p.fsys, path.Join(p.dir(), f.Name))
	if err != nil {
		return p.unreadable(ctx, f, err)
	}
	defer closer.Close()
	p.files, p.rows, p.bytes = p.files+1, p.rows+file.NumRows(), p.bytes+f.Size
	schema, err := shred.ArrowSchema(file.Schema())
	if err != nil {
		p.bad++
		p.find(Finding{Severity: SeverityError, Kind: FoundConflict, File: f.Name, Count: 1, Message: err.Error(),
			Hint: "write the file anew with another engine"})
		return nil
	}
	if f.Size < fewFileBytes {
		p.small++
	}
	if n := int64(file.NumRowGroups()); n >= manySmallGroups && f.Size/n < fewGroupBytes {
		p.split++
	}
	if !p.options.Quick {
		readable, err := p.audit(ctx, f, file)
		if err != nil {
			return p.unreadable(ctx, f, err)
		}
		if !readable {
			return nil
		}
	}
	p.good = append(p.good, checkedFile{f, schema})
	return nil
}

// unreadable tells of a file that can't be read, whether it is the file's fault or the storage's. That it is gone,
// and an interrupt, are passed on.
func (p *checkedPartition) unreadable(ctx context.Context, f stage.File, err error) error {
	if ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.bad++
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindCorrupt {
		hint := storageHint(err)
		if hint == "" {
			hint = "look at the disk and its log, and restore the file from a backup"
		}
		p.find(Finding{Severity: SeverityError, Kind: FoundUnreadable, File: f.Name, Count: 1, Message: withoutPath(err).Error(), Hint: hint})
		return nil
	}
	found := Finding{Severity: SeverityError, Kind: FoundUnreadable, File: f.Name, Count: 1,
		Message: strings.TrimPrefix(e.Err.Error(), f.Name+": "), Hint: e.Hint}
	switch {
	case errors.Is(err, splice.ErrUnsupported):
		found.Severity, found.Kind = SeverityWarning, FoundUnsupported
	case !p.isParquet(ctx, f):
		found.Kind, found.Message = FoundStrayFile, "the file is not Parquet"
		found.Hint = "move it out of the partition: engines fail on it, and upserts are refused"
	}
	p.find(found)
	return nil
}

// isParquet reports whether a file begins as Parquet does.
func (p *checkedPartition) isParquet(ctx context.Context, f stage.File) bool {
	r, err := p.fsys.Open(ctx, path.Join(p.dir(), f.Name))
	if err != nil {
		return false
	}
	defer r.Close()
	var magic [4]byte
	_, err = r.ReadAt(magic[:], 0)
	return (err == nil || errors.Is(err, io.EOF)) && (string(magic[:]) == "PAR1" || string(magic[:]) == "PARE")
}

// audited is what was found in one file.
type audited struct {
	mu       sync.Mutex
	believed []lie
	ignored  []lie
	corrupt  []lie // chunks that can't be read, with the error
	unknown  []lie // chunks that use what is not known here
}

// note takes what was found in a chunk; an error that is not about its bytes is given back.
func (a *audited) note(at lie, list []splice.Contradiction, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range list {
		at.Contradiction = c
		if c.Believed {
			a.believed = append(a.believed, at)
		} else {
			a.ignored = append(a.ignored, at)
		}
	}
	at.err = err
	switch {
	case errors.Is(err, splice.ErrCorrupt), errors.Is(err, io.ErrUnexpectedEOF):
		a.corrupt = append(a.corrupt, at)
	case errors.Is(err, splice.ErrUnsupported):
		a.unknown = append(a.unknown, at)
	default:
		return err
	}
	return nil
}

// lie is a wrong statement of a file about its values.
type lie struct {
	group  int
	leaf   int
	column string
	splice.Contradiction
	err error
}

func (l *lie) String() string {
	return fmt.Sprintf("column %s, row group %d, %s: %s", l.column, l.group, l.Where, l.Message)
}

// audit decodes every column chunk of a file, and tells what it finds. It reports whether the file's keys are
// worth looking at.
func (p *checkedPartition) audit(ctx context.Context, f stage.File, file *splice.File) (readable bool, err error) {
	var found audited
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.inner)
	for group := range file.NumRowGroups() {
		for i, leaf := range file.Schema().Leaves {
			g.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				list, err := file.AuditChunk(ctx, group, i)
				p.progress.Probed.Add(file.RowGroup(group).Columns[i].CompressedSize)
				return found.note(lie{group: group, leaf: i, column: strings.Join(leaf.Path, ".")}, list, err)
			})
		}
	}
	if err := g.Wait(); err != nil {
		return false, err
	}
	p.tellLies(f, &found)
	p.tellChunks(f, found.corrupt, SeverityError, FoundUnreadable)
	p.tellChunks(f, found.unknown, SeverityWarning, FoundUnsupported)
	if len(found.corrupt) > 0 {
		p.bad++
	}
	return len(found.corrupt) == 0, nil
}

// tellChunks tells of column chunks that can't be read.
func (p *checkedPartition) tellChunks(f stage.File, list []lie, severity Severity, kind FindingKind) {
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, byPlace)
	told := Finding{Severity: severity, Kind: kind, File: f.Name, Column: list[0].column, Count: int64(len(list)),
		Message: plural(int64(len(list)), "column chunk", "column chunks") + " can't be read", Hint: Hint(badFile(list[0].err, f.Name))}
	if told.Hint == "" {
		told.Hint = "restore the file, or move it out of the partition"
	}
	for _, l := range list[:min(len(list), sampled)] {
		told.Samples = append(told.Samples, strings.TrimPrefix(l.err.Error(), f.Name+": "))
	}
	p.find(told)
}

func byPlace(a, b lie) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.leaf, b.leaf))
}

// sampled is how many of what was counted are told.
const sampled = 3

func (p *checkedPartition) tellLies(f stage.File, found *audited) {
	slices.SortStableFunc(found.believed, byPlace)
	slices.SortStableFunc(found.ignored, byPlace)
	if n := len(found.believed); n > 0 {
		told := Finding{Severity: SeverityError, Kind: FoundWrongStats, File: f.Name, Count: int64(n), Column: found.believed[0].column,
			Message: fmt.Sprintf("%s what its values deny, so readers may pass rows by", plural(int64(n), "statement of the file says", "statements of the file say")),
			Hint:    "write the file anew with an engine that scans it without filters; rows it still gives can be missed by queries with one"}
		for _, l := range found.believed[:min(n, sampled)] {
			told.Samples = append(told.Samples, l.String())
		}
		p.find(told)
	}
	if n := len(found.ignored); n > 0 {
		if p.ignored == 0 {
			p.ignoredExample = f.Name + ", " + found.ignored[0].String()
		}
		p.ignored += int64(n)
	}
}

func (p *checkedPartition) tellIgnored() {
	if p.ignored == 0 {
		return
	}
	p.find(Finding{Severity: SeverityNote, Kind: FoundIgnoredStats, Count: p.ignored,
		Message: fmt.Sprintf("%s wrong in deprecated fields, or by a known mistake of the program that wrote it; readers ignore it",
			plural(p.ignored, "statement about values is", "statements about values are")),
		Samples: []string{p.ignoredExample}, Hint: "nothing needs to be done"})
}

func (p *checkedPartition) tellFragments() {
	if p.small >= manySmallFiles {
		p.find(Finding{Severity: SeverityNote, Kind: FoundFragments, Count: int64(p.small),
			Message: fmt.Sprintf("%d of %d files are smaller than %d MiB", p.small, p.files, fewFileBytes>>20),
			Hint:    "fewer and larger files are read faster: hupsert compact joins them"})
	}
	if p.split > 0 {
		p.find(Finding{Severity: SeverityNote, Kind: FoundFragments, Count: int64(p.split),
			Message: fmt.Sprintf("%s %d or more row groups of less than %d MiB on average", plural(int64(p.split), "file has", "files have"), manySmallGroups, fewGroupBytes>>20),
			Hint:    "larger row groups are read faster: hupsert compact joins them"})
	}
}

// spec is the partition's values in the types of their columns, if the folder's name has such; it is told if not.
func (p *checkedPartition) spec() (Spec, bool) {
	if p.leaf.spec == nil {
		return nil, false
	}
	spec, err := canonicalSpec(p.layout.columns, p.leaf.spec)
	if err != nil {
		p.find(Finding{Severity: SeverityError, Kind: FoundLayout, Count: 1, Message: err.Error(),
			Hint: "rename the folder, or declare the column as a string: hupsert config --set partition-by=..."})
	}
	return spec, err == nil
}

// checkStored holds partition columns that the files store too against the folder's name.
func (p *checkedPartition) checkStored(ctx context.Context) error {
	spec, ok := p.spec()
	if !ok || p.options.Quick {
		return nil
	}
	r := &run{Table: p.Table, layout: p.layout}
	for _, f := range p.good {
		o := &outcome{target: &target{path: p.leaf.path, spec: spec}, contents: contents{data: []stage.File{f.File}}}
		err := r.checkStored(ctx, o, f.schema)
		var e *Error
		switch {
		case err == nil:
		case errors.As(err, &e) && e.Kind == KindCorrupt:
			if err := p.unreadable(ctx, f.File, err); err != nil {
				return err
			}
		case errors.As(err, &e) && (e.Kind == KindSchema || e.Kind == KindValue):
			p.find(Finding{Severity: SeverityError, Kind: FoundStrayRows, File: f.Name, Column: e.Column, Count: 1, Message: e.Err.Error(),
				Hint: "move the rows to their partition, or correct the column: engines disagree on which they show"})
		default:
			return err
		}
	}
	return nil
}

// checkKeys looks for keys that stand twice.
func (p *checkedPartition) checkKeys(ctx context.Context) error {
	if len(p.report.Key) == 0 {
		return nil
	}
	if p.bad > 0 {
		p.find(Finding{Severity: SeverityNote, Kind: FoundUncheckedKeys, Count: int64(p.bad),
			Message: fmt.Sprintf("keys of %s could not be checked", plural(int64(p.bad), "file", "files")), Hint: "mend the files and check again"})
	}
	if len(p.good) == 0 {
		return nil
	}
	schema, key, err := p.keySchema()
	if err == nil && len(key) == 0 {
		err = fault(ErrUsage, "the key holds partition columns only").hint("name the columns that tell the rows of a partition apart")
	}
	if err != nil {
		p.unchecked(err)
		return nil
	}
	r := &run{Table: p.Table, layout: p.layout}
	check := merge.KeyCheck{Schema: schema, Key: key, Sample: sampled, Parallel: p.inner, Spill: p.budget.space,
		Memory: p.budget.total * 3 / 4 / int64(p.atOnce), Progress: p.progress}
	for _, f := range p.good {
		check.Old = append(check.Old, merge.Old{Name: f.Name, Open: r.opener(p.dir(), f.File)})
	}
	found, err := merge.CheckKeys(ctx, check)
	switch {
	case err == nil:
		p.tellKeys(found)
	case errors.Is(err, merge.ErrSchema), errors.Is(err, merge.ErrValue), errors.Is(err, splice.ErrCorrupt), errors.Is(err, splice.ErrUnsupported):
		p.unchecked(locate(err, "", ""))
	default:
		return err
	}
	return nil
}

// unchecked tells why keys could not be checked. Upserts meet the same.
func (p *checkedPartition) unchecked(err error) {
	f := Finding{Severity: SeverityError, Kind: FoundUncheckedKeys, Count: 1, Message: err.Error(), Hint: Hint(err)}
	var e *Error
	if errors.As(err, &e) {
		f.File, f.Column, f.Message = e.File, e.Column, e.Err.Error()
	}
	f.Message = "keys could not be checked: " + f.Message
	if f.Hint == "" {
		f.Hint = "mend the column, or name other key columns: upserts are refused for the same reason"
	}
	p.find(f)
}

// noColumn is the error of a key column that none of the files has.
func (p *checkedPartition) noColumn(name string) error {
	var names []string
	add := func(name string) {
		if !slices.ContainsFunc(names, func(known string) bool { return strings.EqualFold(known, name) }) {
			names = append(names, name)
		}
	}
	for _, f := range p.good {
		for _, field := range f.schema.Fields() {
			add(field.Name)
		}
	}
	for _, c := range p.layout.columns {
		add(c.Name)
	}
	return fault(ErrSchema, "the files have no column %s", name).column(name).hint("%sthe table's columns: %s", nearest.Meant(name, names), strings.Join(names, ", "))
}

// keySchema is the union of the files' schemas, of the key's columns only: others may differ. Partition
// columns that only the path holds are the same in all rows.
func (p *checkedPartition) keySchema() (*arrow.Schema, []string, error) {
	var key []string
	var union *arrow.Schema
	for _, k := range p.report.Key {
		stored := slices.ContainsFunc(p.good, func(f checkedFile) bool { return len(foldIndices(f.schema, k)) > 0 })
		if columnIndex(p.layout.columns, k) < 0 || stored {
			key = append(key, k)
		}
	}
	for _, f := range p.good {
		var fields []arrow.Field
		for _, field := range f.schema.Fields() {
			if slices.ContainsFunc(key, func(k string) bool {
				return strings.EqualFold(k, field.Name) || len(k) > len(field.Name) && k[len(field.Name)] == '.' && strings.EqualFold(k[:len(field.Name)], field.Name)
			}) {
				fields = append(fields, field)
			}
		}
		var err error
		if union, err = unite(union, arrow.NewSchema(fields, nil)); err != nil {
			return nil, nil, err
		}
	}
	for _, k := range key {
		if !hasPath(union, k) {
			return nil, nil, p.noColumn(k)
		}
	}
	if p.config.Schema == "" {
		return union, key, nil
	}
	declared, err := ParseSchema(p.config.Schema) // which says whether blanks at the end of a key count
	if err != nil {
		return nil, nil, err
	}
	return withLengths(union, declared), key, nil
}

func (p *checkedPartition) tellKeys(found *merge.KeyReport) {
	if found.Repeated > 0 {
		f := Finding{Severity: SeverityError, Kind: FoundDuplicateKeys, Column: strings.Join(p.report.Key, ","), Count: found.Repeated,
			Message: fmt.Sprintf("%s (%s in all)", plural(found.Repeated, "row repeats the key of another", "rows repeat the key of another"),
				plural(found.Keys, "key", "keys")),
			Hint: "merge a source with these keys: --old-duplicates repair with --order-by keeps the highest version, update-all makes them alike"}
		for _, k := range found.Sample {
			d := DuplicateKey{Key: k.Key, Rows: k.Rows}
			for _, at := range k.Places {
				d.Places = append(d.Places, RowPlace(at))
			}
			f.Keys = append(f.Keys, d)
		}
		p.find(f)
	}
	if found.Nulls > 0 {
		f := Finding{Severity: SeverityWarning, Kind: FoundNullKeys, Column: strings.Join(p.report.Key, ","), Count: found.Nulls,
			Message: plural(found.Nulls, "row has NULL in its key", "rows have NULL in their key"),
			Hint:    "merges carry such rows through and never update them; --null-keys match makes NULL equal to NULL"}
		for _, at := range found.NullSample {
			f.Samples = append(f.Samples, fmt.Sprintf("%s row %d", at.File, at.Row))
		}
		p.find(f)
	}
}
