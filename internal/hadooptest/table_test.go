package hadooptest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
	"github.com/hupsert/hupsert/storage/stage"
)

func TestMain(m *testing.M) {
	servicetest.Main(m)
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // what stays is in the system's folder for temporary files
	}
}

// built is the command where the tests built it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// binary is the command under test.
func binary(t *testing.T) string {
	t.Helper()
	if name := os.Getenv("HUPSERT_BINARY"); name != "" {
		return name
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "hupsert-binary-"); built.err != nil { //nolint:usetesting // it is there for all tests
			return
		}
		var text []byte
		text, built.err = exec.Command("go", "build", "-o", filepath.Join(built.dir, "hupsert"), "../../cmd/hupsert").CombinedOutput()
		if built.err != nil {
			built.err = fmt.Errorf("build the command: %w\n%s", built.err, text)
		}
	})
	must(t, built.err)
	return filepath.Join(built.dir, "hupsert")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// days are the partitions of every table.
var days = []string{"dt=2026-11-20", "dt=2026-11-21"}

// row is a row of every table. The text follows from the rest, so that a row that is neither old nor new is seen.
type row struct {
	ID   int64  `parquet:"id"`
	V    int64  `parquet:"v"` // the version of the table
	Text string `parquet:"text"`
}

func rowOf(id, v int64) row {
	return row{ID: id, V: v, Text: fmt.Sprintf("row %d of version %d", id, v)}
}

// kind is how a table is named, and so how its partitions are switched.
type kind string

const (
	byPath      kind = "path"
	byMetastore kind = "metastore"
)

// table is a table on services, every row of which has one version.
type table struct {
	kind
	s    *servicetest.Services
	url  string // as the command is told
	home string // the folder of the test on HDFS
	root string // the table's
	rows int64  // in each partition

	binary, dir string // a local folder for sources
	fsys        *hdfs.FS
	m           *metastore.Client
	database    string
}

// newTable makes a table of version 0 with so many rows in each partition.
func newTable(t *testing.T, s *servicetest.Services, k kind, rows int64) *table {
	t.Helper()
	x := &table{kind: k, s: s, home: s.Folder(t), rows: rows, binary: binary(t), dir: t.TempDir()}
	x.root = x.home + "/t"
	x.url = s.HDFS + x.root
	x.fsys = open(t, s)
	create := []string{"--create", "--partition-by", "dt:date", "--schema", "id bigint, v bigint, text string"}
	if k == byMetastore {
		x.register(t)
		create = nil
	}
	code, said := x.upsert(t.Context(), 0, create...)
	if code != 0 {
		t.Fatalf("make the table: exit code %d\n%s", code, said)
	}
	return x
}

// open gives a file system of our own.
func open(t *testing.T, s *servicetest.Services) *hdfs.FS {
	t.Helper()
	conf := settings(s)
	address, _, err := hdfs.Resolve(s.HDFS, conf)
	must(t, err)
	fsys, err := hdfs.Open(hdfs.Options{Address: address, Conf: conf})
	must(t, err)
	t.Cleanup(func() { must(t, fsys.Close()) })
	return fsys
}

// settings say of which namenodes a pair is made. The command reads them in HADOOP_CONF_DIR; this process has no such
// folder, since its tests, each on services of its own, run side by side.
func settings(s *servicetest.Services) hadoop.Conf {
	if len(s.Namenodes) == 1 {
		return hadoop.Of(nil)
	}
	name := strings.TrimPrefix(s.HDFS, "hdfs://")
	values, ids := map[string]string{"dfs.nameservices": name}, []string(nil)
	for i, address := range s.Namenodes {
		ids = append(ids, fmt.Sprint("nn", i+1))
		values["dfs.namenode.rpc-address."+name+"."+ids[i]] = address
	}
	values["dfs.ha.namenodes."+name] = strings.Join(ids, ",")
	return hadoop.Of(values)
}

// register makes the metastore know the table.
func (x *table) register(t *testing.T) {
	t.Helper()
	m, err := metastore.Dial(t.Context(), metastore.Config{Hosts: []string{x.s.Metastore}, User: "root"})
	must(t, err)
	t.Cleanup(func() { must(t, m.Close()) })
	x.m, x.database = m, x.s.Database(t)
	must(t, m.CreateTable(t.Context(), metastore.NewTable{
		Database: x.database, Name: "t", Location: x.url,
		Columns:     []metastore.Column{{Name: "id", Type: "bigint"}, {Name: "v", Type: "bigint"}, {Name: "text", Type: "string"}},
		PartitionBy: []metastore.Column{{Name: "dt", Type: "date"}},
	}))
	x.url = "hive://" + x.s.Metastore + "/" + x.database + ".t"
}

// command prepares the command on the table.
func (x *table) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, x.binary, args...)
	cmd.Dir = x.dir
	cmd.Env = append(os.Environ(), "TMPDIR="+x.dir, "HOME="+x.dir, "HADOOP_CONF_DIR="+x.s.ConfDir)
	return cmd
}

// run runs a command to its end and gives its exit code, -1 where a signal ended it, and what it said.
func run(cmd *exec.Cmd) (code int, said string) {
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -2, err.Error()
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// source writes the rows of a version, as CSV, and gives the file's name.
func (x *table) source(v int64) (string, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"id", "v", "text", "dt"}) // Flush's error is theirs
	for _, day := range days {
		for id := range x.rows {
			r := rowOf(id+1, v)
			_ = w.Write([]string{strconv.FormatInt(r.ID, 10), strconv.FormatInt(r.V, 10), r.Text, strings.TrimPrefix(day, "dt=")})
		}
	}
	w.Flush()
	name := filepath.Join(x.dir, fmt.Sprintf("v%d.csv", v))
	return name, errors.Join(w.Error(), os.WriteFile(name, b.Bytes(), 0o644))
}

// upserting prepares the upsert of a version.
func (x *table) upserting(ctx context.Context, v int64, more ...string) (*exec.Cmd, error) {
	name, err := x.source(v)
	// Files so small that each partition has several.
	args := append([]string{"upsert", x.url, "--key", "id", "--from", name, "--target-file-size", "2KiB"}, more...)
	return x.command(ctx, args...), err
}

// upsert brings the table to a version.
func (x *table) upsert(ctx context.Context, v int64, more ...string) (code int, said string) {
	cmd, err := x.upserting(ctx, v, more...)
	if err != nil {
		return -2, err.Error()
	}
	return run(cmd)
}

// folders are where the partitions are now.
func (x *table) folders(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	if x.kind == byPath {
		for _, day := range days {
			out[day] = path.Join(x.root, day)
		}
		return out, nil
	}
	at, err := x.m.Table(ctx, x.database, "t")
	if err != nil {
		return nil, err
	}
	list, err := x.m.Partitions(ctx, at, days)
	for _, p := range list {
		out[p.Name] = strings.TrimPrefix(p.Location, x.s.HDFS)
	}
	return out, err
}

// version is the one version that all rows of the table have.
func (x *table) version(ctx context.Context) (int64, error) {
	folders, err := x.folders(ctx)
	if err != nil {
		return 0, err
	}
	if len(folders) != len(days) {
		return 0, fmt.Errorf("there are the partitions %v", folders)
	}
	version := int64(-1)
	for _, day := range days {
		rows, err := x.readFolder(ctx, folders[day])
		if err != nil {
			return 0, err
		}
		v, err := x.whole(rows)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", folders[day], err)
		}
		if version >= 0 && v != version {
			return 0, fmt.Errorf("%w: %s is at %d, the one before at %d", errMixed, folders[day], v, version)
		}
		version = v
	}
	return version, nil
}

// readFolder reads all files of a partition.
func (x *table) readFolder(ctx context.Context, dir string) (out []row, err error) {
	list, err := x.fsys.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		data, err := stage.ReadFile(ctx, x.fsys, path.Join(dir, i.Name))
		if err != nil {
			return nil, err
		}
		rows, err := decode(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", i.Name, err)
		}
		out = append(out, rows...)
	}
	return out, nil
}

// decode reads a Parquet file with a library that the writer under test has no part in.
func decode(data []byte) (rows []row, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return parquet.Read[row](bytes.NewReader(data), int64(len(data)))
}

var errMixed = errors.New("versions are mixed")

// whole checks that rows are one version of a partition, and says which.
func (x *table) whole(rows []row) (int64, error) {
	if int64(len(rows)) != x.rows {
		return 0, fmt.Errorf("%d rows", len(rows))
	}
	slices.SortFunc(rows, func(a, b row) int { return int(a.ID - b.ID) })
	for i, r := range rows {
		if r != rowOf(int64(i+1), r.V) {
			return 0, fmt.Errorf("row %d is %v", i+1, r)
		}
		if r.V != rows[0].V {
			return 0, fmt.Errorf("%w: %d and %d", errMixed, rows[0].V, r.V)
		}
	}
	return rows[0].V, nil
}

// state is the folder of the table's state.
func (x *table) state() string { return path.Join(x.home, ".hupsert", "t") }

// leftovers says what a table's folder and its state hold that does not belong there when no run is under way, and
// which files are open.
func (x *table) leftovers(ctx context.Context) (out []string, err error) {
	empty := func(dir string, but ...string) {
		list, lerr := x.fsys.List(ctx, dir)
		if lerr != nil && !errors.Is(lerr, fs.ErrNotExist) {
			err = errors.Join(err, lerr)
		}
		for _, i := range list {
			if !slices.Contains(but, i.Name) {
				out = append(out, path.Join(dir, i.Name))
			}
		}
	}
	for _, dir := range []string{"staging", "trash", "runs/undo", "locks", "locks/runs"} {
		empty(path.Join(x.state(), dir), "runs")
	}
	empty(path.Join(x.state(), "runs"), "undo", "done")
	empty(x.root, days...)
	opened, lerr := x.s.Try("leases " + x.home)
	if opened != "" {
		out = append(out, "open files: "+opened)
	}
	return out, errors.Join(err, lerr)
}

// isGone reports whether a reader was told that there is no such file.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// settled waits until nobody holds a lock of the table any more: of a run that was killed the next one takes them.
func (x *table) settled(t *testing.T, version int64) {
	t.Helper()
	got, err := x.version(t.Context())
	must(t, err)
	if got != version {
		t.Fatalf("the table is at version %d, want %d", got, version)
	}
	left, err := x.leftovers(t.Context())
	must(t, err)
	if len(left) > 0 {
		t.Fatalf("left: %v", left)
	}
}

// pause waits, or less where the context ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
