package metastore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage/swap"
)

// service is a metastore that runs, and the URL of a file system that it knows.
type service struct{ host, warehouse string }

func live(t *testing.T) service {
	t.Helper()
	host := os.Getenv("MS_HOST")
	if host == "" {
		t.Skip("no metastore")
	}
	return service{host, os.Getenv("MS_FS")}
}

func (s service) dial(t *testing.T, change ...func(*Config)) *Client {
	t.Helper()
	c := Config{Hosts: []string{s.host}, User: "root", Timeout: 20 * time.Second, RetryFor: 15 * time.Second}
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

// database makes a database of the test's own.
func (s service) database(t *testing.T, m *Client) (name, location string) {
	t.Helper()
	name = strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, t.Name())) + fmt.Sprintf("_%d", time.Now().UnixNano())
	location = s.warehouse + "/hms/" + name
	if err := m.CreateDatabase(t.Context(), name, location); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.DropDatabase(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	return name, location
}

var orderColumns = []Column{{Name: "order_id", Type: "bigint"}, {Name: "amount", Type: "decimal(12,2)", Comment: "of the order"}, {Name: "note", Type: "varchar(20)"}}

// orders makes a table partitioned by dt and hr.
func orders(t *testing.T, m *Client, database, location string) *Table {
	t.Helper()
	err := m.CreateTable(t.Context(), NewTable{Database: database, Name: "orders", Location: location + "/orders",
		Columns: orderColumns, PartitionBy: []Column{{Name: "dt", Type: "date"}, {Name: "hr", Type: "int"}}})
	if err != nil {
		t.Fatal(err)
	}
	return table(t, m, database, "orders")
}

func table(t *testing.T, m *Client, database, name string) *Table {
	t.Helper()
	tbl, err := m.Table(t.Context(), database, name)
	if err != nil {
		t.Fatal(err)
	}
	return tbl
}

func TestPointAddsAltersAndDrops(t *testing.T) {
	s := live(t)
	m := s.dial(t)
	db, location := s.database(t, m)
	tbl := orders(t, m, db, location)
	r := m.Registry(tbl, RegistryOptions{})
	_, root := tbl.Storage()
	var list []swap.Pointer
	for i := range 30 {
		list = append(list, swap.Pointer{Partition: fmt.Sprintf("dt=2026-01-%02d/hr=5", i+1), Folder: fmt.Sprintf("%s/a/%d", root, i), Run: "r1", Version: 1, Rows: 10, Bytes: 1000, Files: 2})
	}
	point(t, r, list)
	p := partition(t, m, tbl, list[3].Partition)
	want(t, p.Parameters, map[string]string{"numRows": "10", "totalSize": "1000", "numFiles": "2", ParamRun: "r1", ParamVersion: "1", accuracy: ""})

	for i := range list {
		list[i].Was, list[i].Folder, list[i].Run, list[i].Version, list[i].Rows = list[i].Folder, fmt.Sprintf("%s/b/%d", root, i), "r2", 2, 11
	}
	for range 2 { // to do it twice does no harm
		point(t, r, list)
		p = partition(t, m, tbl, list[3].Partition)
		want(t, p.Parameters, map[string]string{"numRows": "11", "totalSize": "1000", "numFiles": "2", ParamRun: "r2", ParamVersion: "2", accuracy: ""})
		if folder, err := r.Folder(p.Name, p.Location); err != nil || folder != list[3].Folder {
			t.Fatal(p.Location, err)
		}
	}
	_ = errors.Is
	_ = fs.ErrExist
	_ = hmsapi.NewTable
}

func point(t *testing.T, r *Registry, list []swap.Pointer) {
	t.Helper()
	if err := r.Point(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

func partition(t *testing.T, m *Client, tbl *Table, name string) *Partition {
	t.Helper()
	list, err := m.Partitions(t.Context(), tbl, []string{name})
	if err != nil || len(list) != 1 {
		t.Fatal(name, list, err)
	}
	return list[0]
}

func want(t *testing.T, have, want map[string]string) {
	t.Helper()
	for name, v := range want {
		if have[name] != v {
			t.Errorf("%s is %q, want %q", name, have[name], v)
		}
	}
}
