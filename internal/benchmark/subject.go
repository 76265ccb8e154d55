//go:build unix

package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
)

// subject is a change and the partition that it is merged into: what all tools are given alike.
type subject struct {
	Name        string // of the change, or of the table where only that differs
	Table       string // folder of the old files; never changed
	Changes     string // folder of the source
	Key         []string
	Mode        string   // of hupsert
	Columns     []string // beside the key, those that an update brings; nil for whole rows
	Compression string   // of the table's files, which what is written gets too
}

// task is how the scripts of other tools are told what to do.
func (s subject) task(out string) string {
	text, err := json.Marshal(map[string]any{
		"task": "merge", "table": s.Table, "old": s.Table, "changes": s.Changes, "out": out,
		"key": s.Key, "mode": s.Mode, "columns": s.Columns, "compression": s.Compression,
		"conf": map[string]string{"spark.sql.adaptive.enabled": "true", "spark.sql.files.maxPartitionBytes": "134217728"},
	})
	if err != nil {
		panic(err) // it has texts only
	}
	return string(text)
}

// variant is a table that is another than lineitem as Spark writes it in four files, and the changes that are measured on it.
type variant struct {
	Name        string   // of testdata/bench/variants.py; empty for lineitem itself
	Cases       []string // by their folders' names
	Shared      bool     // has lineitem's changes
	Tables      []string // folders with a table each, all with the same changes; nil for one
	Key         []string // nil for lineitem's
	Compression string   // empty for snappy
}

func variants() []variant {
	return []variant{
		{Cases: []string{"last-1", "random-0.01", "random-1", "columns-1", "delete-1", "all"}, Shared: true},
		{Name: "one-group", Cases: []string{"last-1", "random-0.01", "random-1", "all"}, Shared: true},
		{Name: "files-100", Cases: []string{"last-1", "random-0.01", "random-1"}, Shared: true},
		{Name: "zstd", Cases: []string{"last-1", "random-1", "columns-1"}, Shared: true, Compression: "zstd"},
		{Name: "uuid", Cases: []string{"last-1", "random-0.01", "random-1"}, Key: []string{"id"}},
		{Name: "wide", Cases: []string{"last-1", "random-1"}},
		{Name: "growth", Cases: []string{"last-10000"}, Tables: []string{"x1", "x4", "x16"}},
	}
}

// subjects are the variant's: base is the folder of lineitem itself, dir the variant's own.
func (v variant) subjects(base, dir string) (all []subject) {
	changes, tables := dir, v.Tables
	if v.Shared {
		changes = base
	}
	if tables == nil {
		tables = []string{""}
	}
	for _, name := range v.Cases {
		for _, table := range tables {
			s := subject{
				Name: name, Table: filepath.Join(dir, table, "table"), Changes: filepath.Join(changes, "changes", name),
				Key: v.Key, Mode: "upsert", Compression: "snappy",
			}
			if table != "" {
				s.Name += " " + table
			}
			if v.Key == nil {
				s.Key = []string{"l_orderkey", "l_linenumber"}
			}
			if v.Compression != "" {
				s.Compression = v.Compression
			}
			switch name {
			case "columns-1":
				s.Mode, s.Columns = "update", []string{"l_linestatus"}
			case "delete-1":
				s.Mode = "delete"
			}
			all = append(all, s)
		}
	}
	return all
}

// lineitemCases are the changes of lineitem itself that the variant, or the making of its own changes, takes.
func (v variant) lineitemCases() []string {
	if v.Tables != nil {
		return []string{"last-1"}
	}
	return v.Cases
}

// caseNames are all names by which changes are chosen.
func caseNames() (names []string) {
	for _, v := range variants() {
		for _, name := range v.Cases {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// variantNames are all names by which variants are chosen.
func variantNames() (names []string) {
	for _, v := range variants() {
		if v.Name != "" {
			names = append(names, v.Name)
		}
	}
	return names
}
