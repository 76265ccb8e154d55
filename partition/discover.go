package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/storage"
)

// layout is how a table's folder is divided into partitions.
type layout struct {
	exists  bool
	columns []Column
	leaves  []leaf // sorted by path
	// temporary holds the folders, relative to the table, in which another writer has its temporary
	// files, each with that name.
	temporary []temporary
	unlooked  bool             // partitions are known by their folders' names only: see look
	byValue   map[string][]int // canonical path -> leaves
	empty     bool             // there are no files and no partition folders yet
	// registered is what is known beyond names where partitions are registered, not found.
	registered *registered
}

// leaf is one partition directory.
type leaf struct {
	path       string // relative to the table, as it stands; "" is the table's folder itself
	spec       Spec
	properties map[string]string // of a registered one
}

type temporary struct{ dir, name string }

// maxDepth bounds the partition columns of a table: what nests deeper is not a table, or a loop.
const maxDepth = 32

// unlockedTries is how often what is read without a lock is read anew.
const unlockedTries = 10

// unlocked reads what runs may change meanwhile: where files that were listed are gone, they are listed
// anew. What is still gone then was so before.
func unlocked[T any](ctx context.Context, read func() (T, error)) (v T, err error) {
	for range unlockedTries {
		if v, err = read(); !errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
			break
		}
	}
	return v, err
}

// discover lists a table's folders, whoever publishes meanwhile.
func discover(ctx context.Context, fsys storage.FS, root string, declared []Column) (*layout, error) {
	return unlocked(ctx, func() (*layout, error) { return discoverOnce(ctx, fsys, root, declared, false, nil) })
}

// discoverAnyhow is discover that leaves out what can't be read as part of the table, and says what: faults of
// the layout are no error.
func discoverAnyhow(ctx context.Context, fsys storage.FS, root string, declared []Column) (*layout, []error, error) {
	var faults []error
	l, err := unlocked(ctx, func() (*layout, error) {
		faults = nil
		return discoverOnce(ctx, fsys, root, declared, false, &faults)
	})
	return l, faults, err
}

// discoverNames is discover without a look into the partitions, of which a table may have many: where
// columns are declared, a folder's depth says that it is one. One of them is looked into, since the
// declaration may be wrong; those that a run touches are by [layout.look].
func discoverNames(ctx context.Context, fsys storage.FS, root string, declared []Column) (*layout, error) {
	return unlocked(ctx, func() (*layout, error) { return discoverOnce(ctx, fsys, root, declared, len(declared) > 0, nil) })
}

// discoverOnce lists the table's folders and refuses what can't be read as one plain table. Declared
// columns give names and types; columns found in directory names only are strings.
func discoverOnce(ctx context.Context, fsys storage.FS, root string, declared []Column, names bool, faults *[]error) (*layout, error) {
	l := &layout{unlooked: names}
	info, err := fsys.Stat(ctx, root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.columns, l.empty = declared, true
		l.index()
		return l, nil
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fault(ErrLayout, "%s is not a folder", root).of(root).hint("TABLE is the folder that holds the files or the k=v folders")
	}
	l.exists = true
	if err := refuseAncestors(ctx, fsys, root); err != nil {
		return nil, err
	}
	w := &walker{fsys: fsys, root: root, layout: l, faults: faults}
	if faults != nil { // a folder of another column is a fault, not the word of the folders against the declaration
		w.declared = len(declared)
		for _, c := range declared {
			w.names = append(w.names, c.Name)
		}
	}
	if names {
		w.depth = len(declared)
	}
	if err := w.walk(ctx, "", nil); err != nil {
		return nil, err
	}
	if err := w.settle(declared); err != nil {
		return nil, err
	}
	sort.Slice(l.leaves, func(i, j int) bool { return l.leaves[i].path < l.leaves[j].path })
	l.index()
	return l, nil
}

// walker collects leaves while it goes down the table's folders.
type walker struct {
	fsys   storage.FS
	root   string
	layout *layout
	names  []string // partition column of each level, as first seen
	ends   []end
	depth  int // folders of this depth are partitions, and only the first is looked into; 0: all are
	// faults takes what is wrong with the layout where the walk goes on without it; nil: it ends the walk.
	faults   *[]error
	declared int // with faults: how many partition columns are declared, which names has then
}

// tolerate notes a fault of the layout, if the walk is to go on; else it gives the error back.
func (w *walker) tolerate(err error) error {
	if w.faults == nil || !errors.Is(err, ErrLayout) {
		return err
	}
	*w.faults = append(*w.faults, err)
	return nil
}

// end is a folder without partition folders below it.
type end struct {
	path  string
	spec  Spec
	files bool // it holds files that are not hidden
}

func (w *walker) walk(ctx context.Context, rel string, spec Spec) error {
	if len(spec) > maxDepth {
		return w.tolerate(fault(ErrLayout, "%s: folders nest deeper than %d", rel, maxDepth).of(rel).
			hint("a table has a folder for each partition column and none below; move deeper ones away"))
	}
	if w.depth > 0 && len(spec) == w.depth && len(w.ends) > 0 {
		w.ends = append(w.ends, end{path: rel, spec: spec})
		return nil
	}
	files, folders, err := w.list(ctx, rel)
	if err != nil {
		return err
	}
	if len(folders) > 0 && len(files) > 0 {
		err := w.tolerate(fault(ErrLayout, "files stand beside folders: %s beside %s/", path.Join(rel, files[0]), path.Join(rel, folders[0])).of(path.Join(rel, files[0])).
			hint("a table's files are all in its k=v folders, or all in the table's folder; move the stray ones away"))
		if err != nil {
			return err
		}
	}
	if len(folders) == 0 || w.faults != nil && len(files) > 0 && !slices.ContainsFunc(folders, isPair) {
		w.ends = append(w.ends, end{path: rel, spec: spec, files: len(files) > 0})
		return nil
	}
	for _, name := range folders {
		pair, err := w.level(rel, len(spec), name)
		if err != nil {
			if err := w.tolerate(err); err != nil {
				return err
			}
			continue
		}
		if err := w.walk(ctx, path.Join(rel, name), append(spec[:len(spec):len(spec)], pair)); err != nil {
			return err
		}
	}
	return nil
}

// isPair reports whether a folder's name is that of a partition.
func isPair(name string) bool {
	_, err := parsePair(name)
	return err == nil
}

// list gives the files and folders of a folder that are not hidden. Hidden ones are looked at.
func (w *walker) list(ctx context.Context, rel string) (files, folders []string, err error) {
	return w.listAt(ctx, rel, path.Join(w.root, rel))
}

// listAt is list for a partition's folder that may be anywhere.
func (w *walker) listAt(ctx context.Context, rel, dir string) (files, folders []string, err error) {
	entries, err := w.fsys.List(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if err := w.refuse(ctx, rel, dir, e); err != nil {
			if err := w.tolerate(err); err != nil {
				return nil, nil, err
			}
			continue
		}
		switch {
		case isTemporary(e.Name) && e.IsDir():
			w.layout.temporary = append(w.layout.temporary, temporary{dir: rel, name: e.Name})
		case hidden(e.Name):
		case e.IsDir():
			folders = append(folders, e.Name)
		default:
			files = append(files, e.Name)
		}
	}
	return files, folders, nil
}

// lookersAtOnce bounds how many partitions are looked into at once.
const lookersAtOnce = 16

// look looks into partitions that were known by their names only, and refuses what discover would.
func (l *layout) look(ctx context.Context, fsys storage.FS, root string, partitions []string) error {
	if !l.unlooked {
		return nil
	}
	found := make([]layout, len(partitions))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookersAtOnce)
	for i, rel := range partitions {
		g.Go(func() error {
			w := &walker{fsys: fsys, root: root, layout: &found[i]}
			_, folders, err := w.listAt(ctx, rel, l.dir(root, rel))
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil // whoever lists it next says so
			case err == nil && len(folders) > 0:
				where := path.Join(rel, folders[0])
				return fault(ErrLayout, "folder %s is in a partition by %s", where, columnNames(l.columns)).of(where).
					hint("a partition holds files and no folders; move the folder away")
			}
			return err
		})
	}
	err := g.Wait()
	for i := range found {
		l.temporary = append(l.temporary, found[i].temporary...)
	}
	return err
}

// level reads a partition folder's name; all folders of one depth are of the same column.
func (w *walker) level(rel string, depth int, name string) (Pair, error) {
	where := path.Join(rel, name)
	if !strings.Contains(name, "=") {
		return Pair{}, fault(ErrLayout, "folder %s is not a partition (k=v)", where).of(where).
			hint("a partition holds files and no folders; move the folder away")
	}
	pair, err := parsePair(name)
	if err != nil {
		return Pair{}, fault(ErrLayout, "folder %s: %v", where, err).of(where).hint("rename it to COLUMN=VALUE, or move it away")
	}
	if w.declared > 0 && depth >= w.declared {
		return Pair{}, fault(ErrLayout, "folder %s is in a partition by %s", where, strings.Join(w.names, ", ")).of(where).
			hint("a partition holds files and no folders; move the folder away")
	}
	if depth == len(w.names) {
		w.names = append(w.names, pair.Column)
	}
	if !strings.EqualFold(w.names[depth], pair.Column) {
		return Pair{}, fault(ErrLayout, "folder %s: others at its depth are of column %s", where, w.names[depth]).of(where).
			hint("folders of one depth are of one partition column; rename it, or move it away")
	}
	return pair, nil
}

// settle decides the depth of the table and turns ends into leaves. A folder that ends above that
// depth and holds nothing is no partition; one that holds files is an error.
func (w *walker) settle(declared []Column) error {
	depth := len(w.names)
	if len(declared) > 0 {
		if err := w.agree(declared); err != nil {
			return err
		}
		depth = len(declared)
		w.layout.columns = declared
	} else {
		for _, name := range w.names {
			w.layout.columns = append(w.layout.columns, Column{Name: name, Type: arrow.BinaryTypes.String})
		}
	}
	w.layout.empty = len(w.names) == 0 && (len(w.ends) == 0 || !w.ends[0].files)
	for _, e := range w.ends {
		var err error
		switch {
		case len(e.spec) == depth:
			w.layout.leaves = append(w.layout.leaves, leaf{path: e.path, spec: e.spec})
		case e.files && e.path == "":
			err = fault(ErrLayout, "the table's folder holds files, but partitions by %s are declared", columnNames(w.layout.columns)).
				hint("move them into partitions, or take the declaration back: hupsert config TABLE --set partition-by=")
		case e.files:
			err = fault(ErrLayout, "partitions at different depths: %s has %d of the columns %s", e.path, len(e.spec), columnNames(w.layout.columns)).of(e.path).
				hint("a partition has a folder for each column; move the files to where they belong")
		}
		if err := w.tolerate(err); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) agree(declared []Column) error {
	for i, name := range w.names {
		if i >= len(declared) || !strings.EqualFold(name, declared[i].Name) {
			return fault(ErrUsage, "the folders are partitioned by %s, but %s is declared", strings.Join(w.names, ", "), columnNames(declared)).
				hint("correct it with --partition-by at creation, or hupsert config --set partition-by=%s", strings.Join(w.names, ","))
		}
	}
	return nil
}

// index makes the lookup by typed value. A directory whose name is no value of its column's type
// can't be meant by any value, so it has no entry.
func (l *layout) index() {
	l.byValue = make(map[string][]int, len(l.leaves))
	for i, leaf := range l.leaves {
		if spec, err := canonicalSpec(l.columns, leaf.spec); err == nil {
			key := spec.Path()
			l.byValue[key] = append(l.byValue[key], i)
		}
	}
}

// find gives the path of the directory that holds a canonical spec: an existing one, or the
// canonical name.
func (l *layout) find(spec Spec) (path string, exists bool, err error) {
	canonical := spec.Path()
	at := l.byValue[canonical]
	switch len(at) {
	case 0:
		return canonical, false, nil
	case 1:
		return l.leaves[at[0]].path, true, nil
	}
	paths := make([]string, len(at))
	for i, n := range at {
		paths[i] = l.leaves[n].path
	}
	return "", false, fault(ErrLayout, "%s are the same partition", strings.Join(paths, " and ")).of(paths[0]).
		hint("%s", l.mendTwins())
}

// mendTwins is what can be done about two partitions of one value.
func (l *layout) mendTwins() string {
	if l.registered != nil {
		return "the metastore has both, and which one is meant can't be guessed: move the rows into one and drop the other, or make the column a string"
	}
	return "merge the folders into one, or declare the column as a string: hupsert config --set partition-by=..."
}

// retype gives undeclared columns types, where every directory that exists has a value of it.
func (l *layout) retype(types map[string]arrow.DataType) {
	for i := range l.columns {
		c := &l.columns[i]
		t, ok := types[strings.ToLower(c.Name)]
		if !ok || !partitionable(t) || !l.allAre(i, t) {
			continue
		}
		c.Type = t
	}
	l.index()
}

func (l *layout) allAre(column int, t arrow.DataType) bool {
	for _, leaf := range l.leaves {
		p := leaf.spec[column]
		if p.Null {
			continue
		}
		if _, err := canonical(t, p.Value); err != nil {
			return false
		}
	}
	return true
}

// lookalike warns of a new partition that differs from one that is there only in how its values are
// written: where nobody said that a column is a number or a date, 05 and 5 are two texts.
func (r *run) lookalike(t *target) []string {
	if len(r.config.PartitionBy) > 0 {
		return nil
	}
	var typed []Column
	for i, c := range r.layout.columns {
		if c.Type.ID() != arrow.STRING {
			typed = append(typed, c)
			continue
		}
		for _, as := range []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.FixedWidthTypes.Date32} {
			if _, err := canonical(as, t.spec[i].Value); err == nil {
				c.Type = as
				break
			}
		}
		typed = append(typed, c)
	}
	same, err := canonicalSpec(typed, t.spec)
	if err != nil {
		return nil
	}
	for _, leaf := range r.layout.leaves {
		if other, err := canonicalSpec(typed, leaf.spec); err != nil || other.Path() != same.Path() || leaf.path == t.path {
			continue
		}
		var types []string
		for _, c := range typed {
			types = append(types, formatColumn(c))
		}
		return []string{fmt.Sprintf("%s is new beside %s, since nothing says that they are the same: hupsert config %s --set partition-by=%s",
			t.path, leaf.path, ShellQuote(r.url), ShellQuote(strings.Join(types, ",")))}
	}
	return nil
}

// writing reports another writer's temporary folder in a partition or above it, "" if there is none.
func (l *layout) writing(partition string) string {
	for _, t := range l.temporary {
		if t.dir == "" || t.dir == partition || strings.HasPrefix(partition, t.dir+"/") {
			return path.Join(t.dir, t.name)
		}
	}
	return ""
}

// hidden reports whether engines leave a name out when they read a folder.
func hidden(name string) bool {
	return name[0] == '.' || name[0] == '_' && !strings.Contains(name, "=")
}

// isTemporary reports whether a folder is where an engine writes before it commits.
func isTemporary(name string) bool {
	return name == "_temporary" || strings.HasPrefix(name, ".hive-staging") || strings.HasPrefix(name, ".spark-staging")
}

// markers are names by which other table formats and systems are known, wherever they stand.
var markers = map[string]string{
	"_delta_log":                 "it is a Delta table",
	".hoodie":                    "it is a Hudi table",
	".hoodie_partition_metadata": "it belongs to a Hudi table",
	"_spark_metadata":            "Spark's streaming sink keeps the list of valid files in it",
	"_symlink_format_manifest":   "its manifests list the valid files",
	"_orc_acid_version":          "it is a transactional Hive table",
}

var (
	acidFolder   = regexp.MustCompile(`^(base_\d+|delta_\d+_\d+|delete_delta_\d+_\d+)(_v?\d+)*$`)
	acidFile     = regexp.MustCompile(`^bucket_\d{5,}(_\d+)?$`)
	bucketedFile = regexp.MustCompile(`^part-\d{5,}-[0-9a-fA-F-]{36}_\d{5,}(\.|$)`)
)

// refuse says why an entry of a folder makes it none of ours.
func (w *walker) refuse(ctx context.Context, rel, dir string, e storage.Info) error {
	where := path.Join(rel, e.Name)
	if reason, ok := markers[e.Name]; ok {
		return foreign(where, reason)
	}
	switch {
	case e.IsDir() && acidFolder.MatchString(e.Name):
		return foreign(where, "it is a transactional Hive table")
	case !e.IsDir() && acidFile.MatchString(e.Name):
		return foreign(where, "it is a transactional Hive table")
	case !e.IsDir() && bucketedFile.MatchString(e.Name):
		return foreign(where, "it is a bucketed table: rows would have to stay in the file of their bucket")
	case e.IsDir() && e.Name == "metadata":
		return refuseIceberg(ctx, w.fsys, dir, where)
	case e.IsSymlink() && !(hidden(e.Name) && rel == ""):
		return fault(ErrLayout, "%s is a symlink", where).of(where).hint("partitions and their files must be real: a merge would replace the link")
	}
	return nil
}

func foreign(where, reason string) error {
	return fault(ErrForeignTable, "found %s: %s", where, reason).of(where).
		hint("hupsert merges plain Hive tables; change this one with the system it belongs to")
}

// refuseIceberg looks into a folder named metadata, which may as well be anything.
func refuseIceberg(ctx context.Context, fsys storage.FS, dir, where string) error {
	entries, err := fsys.List(ctx, path.Join(dir, "metadata"))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name, ".metadata.json") || e.Name == "version-hint.text" {
			return foreign(where, "it is an Iceberg table")
		}
	}
	return nil
}

// refuseAncestors looks for other formats above the folder: somebody may have named a partition or
// the data folder of a table instead of the table.
func refuseAncestors(ctx context.Context, fsys storage.FS, root string) error {
	for dir := root; ; dir = path.Dir(dir) {
		above := path.Dir(dir)
		for _, name := range []string{"_delta_log", ".hoodie"} {
			if _, err := fsys.Stat(ctx, path.Join(above, name)); err == nil {
				return foreign(path.Join(above, name), markers[name])
			}
		}
		if path.Base(dir) == "data" {
			err := refuseIceberg(ctx, fsys, above, path.Join(above, "metadata"))
			if errors.Is(err, ErrForeignTable) {
				return err
			}
		}
		if !strings.Contains(path.Base(dir), "=") {
			return nil
		}
	}
}
