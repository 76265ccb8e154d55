package main

import (
	"context"
	"errors"
	"os"
	"os/user"
	"path"
	"path/filepath"

	"github.com/hupsert/hupsert/internal/orders"
	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition/metastore"
)

const (
	database = "shop"
	name     = "orders"
	folder   = "/warehouse/shop/orders"
)

// changes is the path of the change file on HDFS.
func changes() string { return "/incoming/" + orders.LastDay() + ".parquet" }

// load makes the demo's table on this machine, puts it and the changes on HDFS, and registers it with all its partitions.
func load(ctx context.Context, s *servicetest.Services) (t *table, err error) {
	local, err := os.MkdirTemp("", "hupsert-demo-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(local)) }()
	if _, err := orders.WriteTable(ctx, filepath.Join(local, name)); err != nil {
		return nil, err
	}
	if _, err := orders.WriteChanges(filepath.Join(local, "changes")); err != nil {
		return nil, err
	}
	for from, to := range map[string]string{name: folder, "changes": changes()} {
		if _, err := s.Try("putfile\t" + filepath.Join(local, from) + "\t" + to); err != nil {
			return nil, err
		}
	}
	partitions, err := folders(filepath.Join(local, name))
	if err != nil {
		return nil, err
	}
	return newTable(s), register(ctx, s, partitions)
}

// folders are the names of a table's partitions.
func folders(table string) ([]string, error) {
	entries, err := os.ReadDir(table)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, err
}

// register makes the table known to the metastore, with its key and the order of versions.
func register(ctx context.Context, s *servicetest.Services, partitions []string) (err error) {
	person, err := user.Current()
	if err != nil {
		return err
	}
	m, err := metastore.Dial(ctx, metastore.Config{Hosts: []string{s.Metastore}, User: person.Username})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	var columns []metastore.Column
	for _, c := range orders.HiveColumns() {
		columns = append(columns, metastore.Column{Name: c[0], Type: c[1]})
	}
	err = errors.Join(
		m.CreateDatabase(ctx, database, s.HDFS+path.Dir(folder)),
		m.CreateTable(ctx, metastore.NewTable{
			Database: database, Name: name, Location: s.HDFS + folder,
			Columns: columns, PartitionBy: []metastore.Column{{Name: "dt", Type: "date"}},
			Parameters: map[string]string{
				metastore.ParamKey:     "order_id,line_no",
				metastore.ParamOrderBy: "updated_at",
			},
		}))
	if err != nil {
		return err
	}
	t, err := m.Table(ctx, database, name)
	if err != nil {
		return err
	}
	locations := map[string]string{}
	for _, p := range partitions {
		locations[p] = s.HDFS + folder + "/" + p
	}
	return m.AddPartitions(ctx, t, locations)
}
