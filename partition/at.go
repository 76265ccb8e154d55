package partition

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// TableAt is a table as it is live, or as a run left it.
type TableAt struct {
	Table *Table
	// Run is a run by its name or the beginning of it, or "origin": partitions that the run did not touch are as they
	// were then. "": live.
	Run string
}

// OpenAt opens TABLE or TABLE@RUN. Where a folder has the whole text as its name, it is meant.
func OpenAt(ctx context.Context, url string, cfg Config) (TableAt, error) {
	at := TableAt{}
	name := url
	if i := strings.LastIndexByte(url, '@'); i > 0 && !strings.Contains(url[i:], "/") {
		there, err := isThere(ctx, url, cfg)
		if err != nil {
			return at, locate(err, "", StepOpen)
		}
		if !there {
			name, at.Run = url[:i], url[i+1:]
			if at.Run == "" {
				return at, locate(fault(ErrUsage, "%s: no run stands behind the @", url).hint("hupsert history %s lists the runs", ShellQuote(name)), "", StepOpen)
			}
		}
	}
	var err error
	at.Table, err = Open(ctx, name, cfg)
	return at, err
}

// isThere reports whether anything has a whole text as its name. What is no name of a file is not.
func isThere(ctx context.Context, url string, cfg Config) (bool, error) {
	if cfg.FS != nil {
		return place{fsys: cfg.FS, name: url}.exists(ctx)
	}
	opened := &storages{hadoop: cfg.Hadoop, hooks: cfg.hooks}
	at, err := opened.find(url)
	if err != nil {
		return false, nil //nolint:nilerr // Open says what is wrong with it
	}
	there, err := at.exists(ctx)
	return there, errors.Join(err, opened.close())
}

// String is the text that OpenAt takes.
func (a TableAt) String() string {
	if a.Run == "" {
		return a.Table.url
	}
	return a.Table.url + "@" + a.Run
}

// originRun names the state of partitions before the first run.
const originRun = "origin"

// runPattern is how runs are named; what stands behind it tells apart the runs of a partial run, and new starts.
var runPattern = regexp.MustCompile(`^\d{8}T\d{6}Z-[0-9a-f]{4}`)

// baseRun is a run's name without what tells apart the parts of a partial run.
func baseRun(name string) string {
	if base := runPattern.FindString(name); base != "" {
		return base
	}
	return name
}

// snapshot is the partitions of a table at one time.
type snapshot struct {
	of     TableAt
	config TableConfig
	layout *layout
	parts  []snapshotPart
}

// snapshotPart is one version of a partition.
type snapshotPart struct {
	path  string // of the partition, below the table
	spec  Spec
	dir   string // where its files are
	files []stage.File
}

// snapshot lists the table.
func (a TableAt) snapshot(ctx context.Context) (*snapshot, error) {
	s, err := unlocked(ctx, func() (*snapshot, error) { return a.list(ctx) })
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (a TableAt) list(ctx context.Context) (*snapshot, error) {
	t := a.Table
	s := &snapshot{of: a}
	var err error
	if s.config, err = t.ReadConfig(ctx); err != nil {
		return nil, err
	}
	if s.layout, err = t.discover(ctx, s.config); err != nil {
		return nil, err
	}
	past := map[string]swap.Version{}
	if a.Run != "" {
		if past, err = a.versions(ctx); err != nil {
			return nil, err
		}
	}
	live := map[string]Spec{}
	for _, leaf := range s.layout.leaves {
		live[leaf.path] = leaf.spec
	}
	for _, p := range mergedKeys(live, past) {
		v, isPast := past[p]
		if isPast && v.Absent {
			continue
		}
		dir := s.layout.dir(t.root, p)
		if err := s.layout.refusal(p); err != nil && !isPast {
			return nil, locate(err, p, StepList)
		}
		if isPast {
			if v.Path == "" {
				return nil, locate(fault(ErrNotFound, "the version of run %s is not kept any more", v.Run).
					hint("hupsert history lists the versions"), p, StepList)
			}
			dir = v.Path
		}
		part := snapshotPart{path: p, dir: dir}
		if p != "" {
			if part.spec, err = ParsePath(p); err != nil {
				return nil, err
			}
		}
		if part.files, err = t.dataFiles(ctx, dir); err != nil {
			return nil, locate(err, p, StepList)
		}
		s.parts = append(s.parts, part)
	}
	return s, nil
}

func mergedKeys[A, B any](a map[string]A, b map[string]B) []string {
	var out []string
	for k := range a {
		out = append(out, k)
	}
	for k := range b {
		if _, both := a[k]; !both {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// dataFiles lists the Parquet files of a folder.
func (t *Table) dataFiles(ctx context.Context, dir string) ([]stage.File, error) {
	files, err := stage.List(ctx, t.fsys, dir)
	if err != nil {
		return nil, err
	}
	c, err := classify(files)
	return c.data, err
}

// versions finds, for each partition that has a history, its version as the run left the table: the run's own, else
// the last one before it.
func (a TableAt) versions(ctx context.Context) (map[string]swap.Version, error) {
	store := a.Table.store
	partitions, err := store.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	histories := map[string][]swap.Version{}
	for _, p := range partitions {
		if histories[p], err = store.History(ctx, p); err != nil {
			return nil, locate(err, p, StepList)
		}
	}
	run, err := a.find(histories)
	if err != nil {
		return nil, err
	}
	var when time.Time
	for _, list := range histories {
		for _, v := range list {
			if baseRun(v.Run) == run && v.Time.After(when) {
				when = v.Time
			}
		}
	}
	out := map[string]swap.Version{}
	for p, list := range histories {
		if len(list) > 0 {
			out[p] = versionAt(list, run, when)
		}
	}
	return out, nil
}

// versionAt is the version that a run made or, where it made none, the last one up to a time; the first where all are
// later.
func versionAt(list []swap.Version, run string, when time.Time) swap.Version {
	if i := slices.IndexFunc(list, func(v swap.Version) bool { return baseRun(v.Run) == run }); i >= 0 {
		return list[i]
	}
	at := list[0]
	for _, v := range list[1:] {
		if v.Time.After(when) {
			break
		}
		at = v
	}
	return at
}

// find gives the run that is meant, by its name or the beginning of it.
func (a TableAt) find(histories map[string][]swap.Version) (string, error) {
	if a.Run == originRun {
		return originRun, nil
	}
	found := map[string]bool{}
	for _, list := range histories {
		for _, v := range list {
			if v.Run == a.Run || baseRun(v.Run) == a.Run {
				return baseRun(v.Run), nil
			}
			if strings.HasPrefix(v.Run, a.Run) {
				found[baseRun(v.Run)] = true
			}
		}
	}
	switch names := mergedKeys(found, map[string]bool{}); len(names) {
	case 1:
		return names[0], nil
	case 0:
		return "", fault(ErrNotFound, "the table has no run %s", a.Run).hint("hupsert history %s lists the runs", ShellQuote(a.Table.url))
	default:
		return "", fault(ErrUsage, "%d runs begin with %s, such as %s", len(names), a.Run, strings.Join(names[:2], " and ")).
			hint("write more of its name")
	}
}

// gone tells that a file of a snapshot vanished because somebody publishes or removes versions meanwhile.
func gone(err error) error {
	var known *Error
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, &known) {
		return err
	}
	return (&Error{Kind: KindConflict, Err: both{err, ErrConflict}}).hint("somebody changed the table meanwhile: run again")
}
