//go:build unix

package writertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// The usual times are for clusters; with these a dead writer is found out within a test.
const (
	pulse   = 250 * time.Millisecond
	silence = 1500 * time.Millisecond
)

// place is where a table of the tests is.
type place struct {
	HDFS, Metastore, Database, Root string
}

const tableName = "counters"

// both are the partitions that each writer changes at once.
var both = []string{"dt=2026-11-20", "dt=2026-11-21"}

// table is a table as one process has it.
type table struct {
	place
	fsys     *hdfs.FS
	client   *metastore.Client
	registry *metastore.Registry
}

// open connects a process to a table.
func (p place) open(ctx context.Context, logger *slog.Logger) (*table, error) {
	t := &table{place: p}
	address, _, err := hdfs.Resolve(p.HDFS, hadoop.Of(nil))
	if err != nil {
		return nil, err
	}
	t.fsys, err = hdfs.Open(hdfs.Options{Address: address, Conf: hadoop.Of(nil), Pulse: pulse, Silence: silence, Logger: logger})
	if err != nil {
		return nil, err
	}
	t.client, err = metastore.Dial(ctx, metastore.Config{Hosts: []string{p.Metastore}, User: "root", Logger: logger})
	if err != nil {
		return nil, errors.Join(err, t.fsys.Close())
	}
	is, err := t.client.Table(ctx, p.Database, tableName)
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	t.registry = t.client.Registry(is, metastore.RegistryOptions{})
	return t, nil
}

func (t *table) close() error { return errors.Join(t.client.Close(), t.fsys.Close()) }

// state is the folder of the table's state.
func (t *table) state() string { return path.Join(path.Dir(t.Root), ".hupsert", path.Base(t.Root)) }

// make makes a table whose partitions hold content, at their usual places.
func (p place) make(ctx context.Context, s *servicetest.Services, partitions []string) error {
	m, err := metastore.Dial(ctx, metastore.Config{Hosts: []string{p.Metastore}, User: "root"})
	if err != nil {
		return err
	}
	defer m.Close()
	err = m.CreateTable(ctx, metastore.NewTable{Database: p.Database, Name: tableName, Location: p.HDFS + p.Root,
		Columns: []metastore.Column{{Name: "id", Type: "string"}, {Name: "n", Type: "bigint"}}, PartitionBy: []metastore.Column{{Name: "dt", Type: "date"}}})
	if err != nil {
		return err
	}
	t, err := m.Table(ctx, p.Database, tableName)
	if err != nil {
		return err
	}
	locations := map[string]string{}
	for _, name := range partitions {
		locations[name] = p.HDFS + p.Root + "/" + name
		if _, err := s.Try("mkdir " + p.Root + "/" + name + " 755"); err != nil {
			return err
		}
	}
	return m.AddPartitions(ctx, t, locations)
}

// newTable makes a table of the test's own, and opens it.
func newTable(tb testing.TB, s *servicetest.Services, partitions ...string) *table {
	tb.Helper()
	p := place{HDFS: s.HDFS, Metastore: s.Metastore, Database: s.Database(tb), Root: s.Folder(tb) + "/" + tableName}
	must(tb, p.make(tb.Context(), s, partitions))
	t, err := p.open(tb.Context(), slog.New(slog.DiscardHandler))
	must(tb, err)
	tb.Cleanup(func() { must(tb, t.close()) })
	return t
}

// content is what a partition holds: the ids of all upserts, and the shared row, which each of them has counted up.
type content struct {
	counter int
	ids     []string
}

func (c content) String() string {
	return fmt.Sprintf("%d\n%s", c.counter, strings.Join(append(c.ids, ""), "\n"))
}

func parse(text string) (c content, err error) {
	head, rest, _ := strings.Cut(text, "\n")
	if _, err := fmt.Sscan(head, &c.counter); err != nil {
		return c, fmt.Errorf("%q: %w", head, err)
	}
	c.ids = strings.Fields(rest)
	return c, nil
}

// fault says what is wrong with a version by itself.
func (c content) fault() string {
	sorted := slices.Sorted(slices.Values(c.ids))
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return "row " + sorted[i] + " is there twice"
		}
	}
	if c.counter != len(c.ids) {
		return fmt.Sprintf("the counter is %d, and there are %d rows", c.counter, len(c.ids))
	}
	return ""
}

// read reads a folder's content; a folder without files is a new partition's.
func read(ctx context.Context, fsys storage.FS, folder string, files []stage.File) (content, error) {
	switch len(files) {
	case 0:
		return content{}, nil
	case 1:
	default:
		return content{}, fmt.Errorf("%s holds %d files", folder, len(files))
	}
	f, err := fsys.Open(ctx, path.Join(folder, files[0].Name))
	if err != nil {
		return content{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, files[0].Size))
	if err != nil {
		return content{}, err
	}
	return parse(string(text))
}

// store opens a table's state through some file system and registry.
func (t *table) store(ctx context.Context, fsys storage.FS, registry swap.Registry) (*swap.Store, error) {
	return swap.Open(ctx, fsys, t.Root, swap.Options{Registry: registry, Pulse: pulse, Silence: silence, LockWait: 15 * time.Second,
		Owner: swap.Owner{Host: "localhost", PID: os.Getpid()}})
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
