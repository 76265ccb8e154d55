package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/bmatcuk/doublestar/v4"
	"github.com/cespare/xxhash/v2"

	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/storage"
)

// Source is the rows to merge: files, or Arrow batches of the caller ([Records]).
type Source struct {
	// From names files, directories (read whole, hidden files left out), globs ("in/**/*.parquet") and
	// "-" for Stdin, in order: where versions tie, later ones win. Directories named "col=value" on
	// the way to a file give its rows that column, where the table is partitioned by it.
	From []string
	// Literal takes the names of From as they stand: none is a glob.
	Literal bool
	// Format is parquet, csv, ndjson or arrow; "": by each file's name.
	Format string
	// CSV is how the source's CSV is written, where it is not commas, double quotes and a header line in UTF-8.
	CSV CSV
	// Stdin is what "-" reads; nil: "-" is an error.
	Stdin io.Reader

	records array.RecordReader
}

// CSV says how CSV is written; its zero value is as RFC 4180 says.
type CSV = source.CSVOptions

// Records makes a source of a caller's Arrow batches. A run reads them once and keeps those it needs
// until its end; it does not release the reader.
func Records(r array.RecordReader) Source { return Source{records: r} }

// readsOnce reports whether the source can't be read again.
func (s *Source) readsOnce() bool { return s.records != nil || slices.Contains(s.From, "-") }

// sourceFile is one input, found and described but not opened.
type sourceFile struct {
	place         // with an empty name for standard input
	shown  string // as the user named it
	format source.Format
	info   storage.Info
	spec   Spec // "col=value" folders on the way to it
	stdin  io.Reader
}

func (f *sourceFile) name() string {
	if f.stdin != nil {
		return "standard input"
	}
	return f.shown
}

// files finds the files of a source. It refuses those of the table itself: they would be read
// while they are replaced.
func (s Source) files(ctx context.Context, in *storages, table place) ([]*sourceFile, error) {
	if s.records != nil {
		if len(s.From) > 0 {
			return nil, fault(ErrUsage, "a source is files or records, not both")
		}
		return nil, nil
	}
	if len(s.From) == 0 {
		return nil, fault(ErrUsage, "no source: name files, folders or globs with --from, or - for standard input")
	}
	switch source.Format(s.Format) {
	case "", source.Parquet, source.CSV, source.NDJSON, source.Arrow:
	default:
		return nil, fault(ErrUsage, "format %q: want parquet, csv, ndjson or arrow", s.Format)
	}
	if err := s.CSV.Validate(); err != nil {
		return nil, fault(ErrUsage, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	e := &expander{storages: in, format: source.Format(s.Format), table: table, stdin: s.Stdin, literal: s.Literal}
	for _, from := range s.From {
		if err := e.expand(ctx, from); err != nil {
			return nil, err
		}
	}
	if !s.CSV.Zero() && !slices.ContainsFunc(e.files, func(f *sourceFile) bool { return f.format == source.CSV }) {
		return nil, fault(ErrUsage, "it is said how CSV is written, and no file of the source is CSV").
			hint("--format csv, where the names do not say it")
	}
	return e.files, nil
}

// expander turns what --from names into files.
type expander struct {
	storages *storages
	format   source.Format
	table    place // symlinks resolved
	stdin    io.Reader
	literal  bool
	files    []*sourceFile
	shown    func(at place) string // how the files of the current --from are named in messages
}

func (e *expander) expand(ctx context.Context, from string) error {
	e.shown = shownAs(from)
	if from == "-" {
		return e.standardInput()
	}
	at, err := e.storages.find(from)
	if err != nil {
		return err
	}
	info, err := at.fsys.Stat(ctx, at.name)
	if err == nil && info.IsSymlink() {
		if at, err = at.resolve(); err == nil {
			info, err = at.fsys.Stat(ctx, at.name)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && !e.literal && strings.ContainsAny(from, "*?[{"):
		return e.glob(ctx, from, at)
	case errors.Is(err, fs.ErrNotExist):
		return fault(ErrNotFound, "no such file or folder").file(from).hint("check --from; quote globs so that the shell leaves them alone")
	case err != nil:
		return err
	case info.IsDir():
		return e.folder(ctx, at.name, at)
	}
	return e.add(ctx, at, info)
}

// shownAs names files as the user would: relative where the source was.
func shownAs(from string) func(at place) string {
	here, err := filepath.Abs(".")
	if err != nil || filepath.IsAbs(from) || strings.Contains(from, "://") {
		return place.url
	}
	return func(at place) string {
		if rel, err := filepath.Rel(here, at.name); err == nil {
			return rel
		}
		return at.name
	}
}

func (e *expander) standardInput() error {
	switch {
	case e.stdin == nil:
		return fault(ErrUsage, "\"-\": there is no standard input to read")
	case e.format == "":
		return fault(ErrUsage, "\"-\": the format of standard input is not known").hint("say it with --format csv, ndjson or arrow")
	case e.format == source.Parquet:
		return fault(ErrUsage, "\"-\": Parquet is read from its end, which standard input has only when it is over").hint("write it to a file first")
	}
	e.files = append(e.files, &sourceFile{format: e.format, stdin: e.stdin})
	e.stdin = nil // it can be read once
	return nil
}

func (e *expander) glob(ctx context.Context, from string, pattern place) error {
	if !doublestar.ValidatePattern(pattern.name) {
		return fault(ErrUsage, "%q is not a glob", from)
	}
	base, rest := doublestar.SplitPattern(filepath.ToSlash(pattern.name))
	names, err := doublestar.Glob(view{ctx, pattern.fsys, base}, rest, doublestar.WithFilesOnly(), doublestar.WithFailOnIOErrors())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	found := 0
	for _, name := range names {
		if hidden(path.Base(name)) {
			continue
		}
		at := pattern
		at.name = path.Join(base, name)
		info, err := at.fsys.Stat(ctx, at.name)
		if err != nil {
			return err
		}
		if err := e.add(ctx, at, info); err != nil {
			return err
		}
		found++
	}
	if found == 0 {
		return fault(ErrNotFound, "no file matches").file(from).hint("check --from; ** goes into folders, * does not")
	}
	return nil
}

// folder adds the files below a folder, by name. Hidden names are left out as engines do.
func (e *expander) folder(ctx context.Context, top string, dir place) error {
	list, err := dir.fsys.List(ctx, dir.name)
	if err != nil {
		return err
	}
	before := len(e.files)
	for _, info := range list {
		if hidden(info.Name) {
			continue
		}
		at := dir
		at.name = path.Join(dir.name, info.Name)
		if info.IsDir() {
			err = e.folder(ctx, top, at)
		} else {
			err = e.add(ctx, at, info)
		}
		if err != nil {
			return err
		}
	}
	if dir.name == top && len(e.files) == before {
		return fault(ErrNotFound, "the folder holds no files").file(e.shown(dir))
	}
	return nil
}

func (e *expander) add(ctx context.Context, at place, info storage.Info) error {
	target, err := at.resolve()
	if err != nil {
		return err
	}
	if e.table.holds(target) {
		return fault(ErrUsage, "the source is a file of the table itself").file(e.shown(at)).hint("a table can't be merged into itself; copy the file elsewhere")
	}
	if info.IsSymlink() {
		if info, err = target.fsys.Stat(ctx, target.name); err != nil {
			return err
		}
	}
	f := &sourceFile{place: at, shown: e.shown(at), info: info, format: e.format}
	if f.format == "" {
		if f.format, err = e.sniff(ctx, at); err != nil {
			return err
		}
	}
	for _, part := range strings.Split(path.Dir(at.name), "/") {
		if pair, err := parsePair(part); err == nil {
			f.spec = append(f.spec, pair)
		}
	}
	e.files = append(e.files, f)
	return nil
}

// sniff tells a file's format by its name, else by its first bytes: engines write Parquet files
// without an extension.
func (e *expander) sniff(ctx context.Context, at place) (source.Format, error) {
	if f, ok := source.FormatOf(at.name); ok {
		return f, nil
	}
	file, err := at.fsys.Open(ctx, at.name)
	if err != nil {
		return "", err
	}
	head := make([]byte, 6)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return "", err
	}
	switch head := string(head[:n]); {
	case strings.HasPrefix(head, "PAR1"), strings.HasPrefix(head, "PARE"):
		return source.Parquet, nil
	case head == "ARROW1":
		return source.Arrow, nil
	case strings.HasPrefix(head, "\x1f\x8b"), strings.HasPrefix(head, "\x28\xb5\x2f\xfd"):
		return "", fault(ErrUsage, "the file is compressed, and its name does not say what is in it").file(e.shown(at)).hint("say it with --format csv or ndjson")
	case strings.HasPrefix(head, "BZh"), strings.HasPrefix(head, "\xfd7zXZ"):
		return "", fault(ErrUsage, "the file is compressed").file(e.shown(at)).hint("decompress it on the way: xzcat FILE | hupsert upsert TABLE --from - --format csv")
	}
	return "", fault(ErrUsage, "the format can't be told").file(e.shown(at)).hint("name it with --format parquet, csv, ndjson or arrow")
}

// input is the file as merge/source takes it. It is checked when opened that it is the file that was
// listed.
func (f *sourceFile) input() source.Input {
	in := source.Input{Name: f.name(), Format: f.format, Size: f.info.Size, Stdin: f.stdin}
	if f.stdin != nil {
		return in
	}
	in.Open = func(ctx context.Context) (source.ReadCloserAt, error) {
		file, err := f.fsys.Open(ctx, f.place.name)
		if err != nil {
			return nil, err
		}
		info, err := file.Stat()
		if err == nil {
			err = f.same(info)
		}
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		return file, nil
	}
	return in
}

// unchanged checks, after a file was read, that it still is what it was: half of an old and half of a
// new file would merge without a sign.
func (f *sourceFile) unchanged(ctx context.Context) error {
	if f.stdin != nil {
		return nil
	}
	file, err := f.fsys.Open(ctx, f.place.name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fault(ErrCorrupt, "the source vanished while it was read").file(f.shown).hint("wait until its writer is done, and run again")
		}
		return err
	}
	info, err := file.Stat()
	if err == nil {
		err = f.same(info)
	}
	return errors.Join(err, file.Close())
}

func (f *sourceFile) same(info storage.Info) error {
	if info.Size == f.info.Size && info.ModTime.Equal(f.info.ModTime) && info.ID == f.info.ID {
		return nil
	}
	return fault(ErrCorrupt, "the source changed while it was read").file(f.shown).hint("wait until its writer is done, and run again")
}

// fingerprint names a file's content, whatever the file is called.
func (f *sourceFile) fingerprint(ctx context.Context) (string, error) {
	file, err := f.fsys.Open(ctx, f.place.name)
	if err != nil {
		return "", err
	}
	h := xxhash.New()
	r := io.NewSectionReader(file, 0, f.info.Size)
	buf := make([]byte, 1<<20)
	for err == nil {
		if err = ctx.Err(); err != nil {
			break
		}
		var n int
		n, err = r.Read(buf)
		// A hash takes whatever it is given.
		_, _ = h.Write(buf[:n])
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return fmt.Sprintf("xxh64:%016x:%d", h.Sum64(), f.info.Size), errors.Join(err, file.Close())
}

// view shows a folder of a storage as an io/fs.FS, for the glob matcher.
type view struct {
	ctx  context.Context
	fsys storage.FS
	base string
}

// Open implements fs.FS. The matcher only lists and describes.
func (v view) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.ErrUnsupported}
}

// ReadDir implements fs.ReadDirFS.
func (v view) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := v.fsys.List(v.ctx, path.Join(v.base, name))
	if err != nil {
		return nil, err
	}
	out := make([]fs.DirEntry, len(list))
	for i, info := range list {
		out[i] = fs.FileInfoToDirEntry(described{info})
	}
	return out, nil
}

// Stat implements fs.StatFS.
func (v view) Stat(name string) (fs.FileInfo, error) {
	info, err := v.fsys.Stat(v.ctx, path.Join(v.base, name))
	if err != nil {
		return nil, err
	}
	return described{info}, nil
}

// described shows a storage.Info as an fs.FileInfo.
type described struct{ info storage.Info }

func (d described) Name() string       { return d.info.Name }
func (d described) Size() int64        { return d.info.Size }
func (d described) Mode() fs.FileMode  { return d.info.Mode }
func (d described) ModTime() time.Time { return d.info.ModTime }
func (d described) IsDir() bool        { return d.info.IsDir() }
func (d described) Sys() any           { return nil }
