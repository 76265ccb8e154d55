package metastore

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage/swap"
)

// service is a metastore of a test's own database, in a folder of its own.
type service struct {
	*Client
	database string
	location string // URL
}

// each runs a test on every version of the metastore.
func each(t *testing.T, test func(t *testing.T, s service)) {
	for _, version := range []string{"2.3", "3.1", "4.0"} {
		t.Run(version, func(t *testing.T) { test(t, serve(t, address(t, version))) })
	}
}

// others are the metastores but for the shared one, by version: started by the first test that asks, ended with the tests.
var others = struct {
	sync.Mutex
	address map[string]string
	end     []func()
}{address: map[string]string{}}

func TestMain(m *testing.M) {
	servicetest.Main(m)
	for _, end := range others.end {
		end()
	}
}

// address is where a version of the metastore listens, on the shared HDFS.
func address(t *testing.T, version string) string {
	t.Helper()
	shared := servicetest.Shared(t)
	if version == "3.1" {
		return shared.Metastore
	}
	others.Lock()
	defer others.Unlock()
	if others.address[version] == "" {
		life := &lasting{TB: t}
		others.address[version], _ = servicetest.StartMetastore(life, version, servicetest.Options{On: shared, Dir: life.dir()})
		others.end = append(others.end, life.ended...)
	}
	return others.address[version]
}

// lasting is a test whose services last longer than it: until all tests have ended.
type lasting struct {
	testing.TB
	ended []func()
}

func (l *lasting) Cleanup(f func()) { l.ended = append([]func(){f}, l.ended...) }

// Failed: of which of the tests nobody knows by then.
func (l *lasting) Failed() bool { return false }

func (l *lasting) dir() string {
	l.Helper()
	dir, err := os.MkdirTemp("", "hupsert-metastore-")
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve makes a database for a test in the metastore of an address.
func serve(t *testing.T, address string) service {
	t.Helper()
	shared := servicetest.Shared(t)
	s := service{Client: dial(t, address), location: shared.HDFS + shared.Folder(t)}
	s.database = fmt.Sprintf("t%d", time.Now().UnixNano())
	if err := s.CreateDatabase(t.Context(), s.database, s.location); err != nil {
		t.Fatal(err)
	}
	return s
}

// dial connects as the user who runs the services, whom HDFS lets do all.
func dial(t *testing.T, address string, change ...func(*Config)) *Client {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Hosts: []string{address}, User: me.Username, Timeout: time.Minute}
	for _, f := range change {
		f(&c)
	}
	m, err := Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

var orderColumns = []Column{{Name: "order_id", Type: "bigint"}, {Name: "amount", Type: "decimal(12,2)", Comment: "of the order"}, {Name: "note", Type: "varchar(20)"}}

// create makes a table of orders and gives it as it is registered.
func (s service) create(t *testing.T, change ...func(*NewTable)) *Table {
	t.Helper()
	n := NewTable{Database: s.database, Name: "orders", Location: s.location + "/orders", Columns: orderColumns,
		PartitionBy: []Column{{Name: "dt", Type: "date"}, {Name: "hr", Type: "int"}}}
	for _, f := range change {
		f(&n)
	}
	if err := s.CreateTable(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return s.read(t, n.Name)
}

func unpartitioned(n *NewTable) { n.PartitionBy = nil }

func (s service) read(t *testing.T, name string) *Table {
	t.Helper()
	table, err := s.Table(t.Context(), s.database, name)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// partition reads one that must be there.
func (s service) partition(t *testing.T, table *Table, name string) *Partition {
	t.Helper()
	list, err := s.Partitions(t.Context(), table, []string{name})
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: %d, %v", name, len(list), err)
	}
	return list[0]
}

// pointers are new partitions of consecutive days, in folders of a version.
func pointers(table *Table, n int) []swap.Pointer {
	_, root := table.Storage()
	list := make([]swap.Pointer, n)
	for i := range list {
		name := fmt.Sprintf("dt=%s/hr=5", time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly))
		list[i] = swap.Pointer{Partition: name, Folder: fmt.Sprintf("%s-state/%d/v1", root, i), Run: "first", Version: 1, Rows: 10, Bytes: 1000, Files: 2}
	}
	return list
}

// onward is the next version of pointers.
func onward(list []swap.Pointer, run string) []swap.Pointer {
	list = slices.Clone(list)
	for i := range list {
		p := &list[i]
		p.Version++
		p.Was, p.Run, p.Rows, p.Bytes, p.Files = p.Folder, run, p.Rows+1, p.Bytes+1, p.Files+1
		p.Folder = fmt.Sprintf("%s%d", p.Folder[:len(p.Folder)-1], p.Version)
	}
	return list
}

func point(t *testing.T, r *Registry, list []swap.Pointer) {
	t.Helper()
	if err := r.Point(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

// holds compares some parameters; "" is one that is not there.
func holds(t *testing.T, have, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have[name] != want[name] {
			t.Errorf("%s is %q, want %q", name, have[name], want[name])
		}
	}
}

// stays compares what is registered of a partition but for its location and what a publish says of it.
func stays(t *testing.T, was, is *hmsapi.Partition) {
	t.Helper()
	plain := func(p *hmsapi.Partition) hmsapi.Partition {
		c, sd := *p, *p.Sd
		c.Sd, sd.Location = &sd, nil
		c.Parameters = maps.Clone(c.Parameters)
		maps.DeleteFunc(c.Parameters, func(name, _ string) bool { return volatile(name) })
		return c
	}
	if a, b := plain(was), plain(is); !reflect.DeepEqual(a, b) {
		t.Errorf("was %v\nis  %v", &a, &b)
	}
}
