//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
)

// Where things are on the benchmark's HDFS. One partition wanders between its home and the tables that are merged into:
// a merge leaves the old files as they are.
const (
	home        = "/home/batch=1"
	run         = "/run"
	runTable    = run + "/lineitem"
	runState    = run + "/.hupsert/lineitem"
	partition   = "batch=1"
	hiveTable   = "bench.lineitem"
	lineitemKey = "l_orderkey,l_linenumber"
)

// cluster is an HDFS with a metastore, and what is measured on them.
type cluster struct {
	services *servicetest.Services
	fsys     *hdfs.FS
	hive     *metastore.Client
	binary   string
	python   string
	spark    string // a JVM's file of arguments; empty where there is no Spark
	work     string // folder of this machine
	data     string // the same, with table and changes
}

// onHDFS measures merges into a partition on HDFS beside a copy of it by the same client, and beside Spark.
func onHDFS(ctx context.Context, c config) error {
	data, err := generateHDFS(ctx, c)
	if err != nil {
		return fmt.Errorf("generate the data: %w", err)
	}
	work := filepath.Join(c.Cache, fmt.Sprintf("work-%d", os.Getpid()))
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b, err := startCluster(ctx, c, data, work)
	if err != nil {
		return err
	}
	defer b.close()
	var results []hdfsResult
	for _, name := range []string{"last-1", "random-1"} {
		if len(c.Cases) > 0 && !slices.Contains(c.Cases, name) {
			continue
		}
		r, err := b.measure(ctx, name, c)
		if err != nil {
			return fmt.Errorf("case %s: %w", name, err)
		}
		results = append(results, r...)
	}
	if len(results) > 0 {
		size, err := folderBytes(filepath.Join(data, "table"))
		if err != nil {
			return err
		}
		fmt.Printf("\nTPC-H lineitem, scale %s: 4 files, %d MB, on an HDFS of one datanode on this machine; median of %d rounds in turns\n\n",
			c.Scale, size>>20, c.Rounds)
		if err := printHDFS(os.Stdout, results); err != nil {
			return err
		}
	}
	if len(c.Cases) > 0 && !slices.Contains(c.Cases, "small") {
		return nil
	}
	small, err := b.small(ctx, c.Rounds)
	if err != nil {
		return fmt.Errorf("small upserts: %w", err)
	}
	fmt.Println("\nOne row into each partition; tables of 100 partitions of 10 rows")
	fmt.Println()
	return printSmall(os.Stdout, small)
}

func generateHDFS(ctx context.Context, c config) (dir string, err error) {
	dir = filepath.Join(c.Cache, "hdfs-sf"+c.Scale+"-"+writerKind())
	return dir, script(ctx, c.Python, "generate.py", dir, c.Scale, "last-1", "random-1")
}

func startCluster(ctx context.Context, c config, data, work string) (b *cluster, err error) {
	binary, err := filepath.Abs(c.Binary)
	if err != nil {
		return nil, err
	}
	b = &cluster{binary: binary, python: c.Python, spark: c.Spark, work: work, data: data}
	if b.services, err = servicetest.Launch(servicetest.Options{Metastore: true, Dir: filepath.Join(work, "services")}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if err = os.Setenv("HADOOP_CONF_DIR", b.services.ConfDir); err != nil {
		return nil, err
	}
	if b.fsys, err = openHDFS(b.services.HDFS); err != nil {
		return nil, err
	}
	if b.hive, err = metastore.Dial(ctx, metastore.Config{Hosts: []string{b.services.Metastore}}); err != nil {
		return nil, err
	}
	if err = b.hive.CreateDatabase(ctx, "bench", b.services.HDFS+"/bench"); err != nil {
		return nil, err
	}
	puts := map[string]string{"table": home, "changes": "/changes"}
	for from, to := range puts {
		if _, err = b.services.Try("putfile\t" + filepath.Join(data, from) + "\t" + to); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func openHDFS(url string) (*hdfs.FS, error) {
	conf, err := hadoop.Load()
	if err != nil {
		return nil, err
	}
	address, _, err := hdfs.Resolve(url+"/", conf)
	if err != nil {
		return nil, err
	}
	return hdfs.Open(hdfs.Options{Address: address, Conf: conf})
}

func (b *cluster) close() {
	if b.hive != nil {
		_ = b.hive.Close()
	}
	if b.fsys != nil {
		_ = b.fsys.Close()
	}
	b.services.Close()
}

// hdfsResult is one tool's runs of one case.
type hdfsResult struct {
	Case, Tool string
	Costs      []cost
	Wire       int64  // bytes that came from datanodes, in the last run
	Probed     int64  // bytes of the partition that the merge itself says it read
	Rows       string // what it left
}

// measure runs the tools in turns, Spark once.
func (b *cluster) measure(ctx context.Context, name string, c config) ([]hdfsResult, error) {
	changes := "/changes/" + name
	tools := []struct {
		name string
		once func(ctx context.Context, changes string, r *hdfsResult) error
	}{
		{"copy", b.copy},
		{"rename", b.byPath},
		{"location", b.byLocation},
		{"spark", b.bySpark},
	}
	results := make([]hdfsResult, 0, len(tools))
	for _, t := range tools {
		results = append(results, hdfsResult{Case: name, Tool: t.name})
	}
	for round := range c.Rounds {
		for i, t := range tools {
			if t.name == "spark" && (round > 0 || b.spark == "") || len(c.Tools) > 0 && !slices.Contains(c.Tools, t.name) {
				continue
			}
			r := &results[i]
			if err := t.once(ctx, changes, r); err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			at := r.Costs[len(r.Costs)-1]
			fmt.Fprintf(os.Stderr, "%-10s round %d  %-9s %7.2f s wall  %6.2f s CPU  %5d MB  %s\n",
				name, round+1, t.name, at.Wall.Seconds(), at.CPU.Seconds(), at.Peak>>20, r.Rows)
		}
	}
	return slices.DeleteFunc(results, func(r hdfsResult) bool { return len(r.Costs) == 0 }), nil
}

// copy copies the partition as this program does when it is told to.
func (b *cluster) copy(ctx context.Context, _ string, r *hdfsResult) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	defer b.remove("/copy")
	if err := b.fsys.Mkdir(ctx, "/copy", 0o755); err != nil {
		return err
	}
	c, _, err := b.timed(ctx, []string{self, "-copy", b.services.HDFS + home, "-to", "/copy"})
	r.Costs = append(r.Costs, c)
	return err
}

func (b *cluster) byPath(ctx context.Context, changes string, r *hdfsResult) error {
	return b.merge(ctx, b.services.HDFS+runTable, changes, r, nil)
}

func (b *cluster) byLocation(ctx context.Context, changes string, r *hdfsResult) error {
	defer func() { _ = b.hive.DropTable(ctx, "bench", "lineitem") }() // the next run would say
	return b.merge(ctx, "hive://"+b.services.Metastore+"/"+hiveTable, changes, r, func() error {
		return b.register(ctx, "lineitem", runTable, lineitem(), metastore.Column{Name: "batch", Type: "int"}, []string{partition})
	})
}

// merge brings the partition into the run's table, which is then registered, merges changes into it, and brings it home.
func (b *cluster) merge(ctx context.Context, table, changes string, r *hdfsResult, register func() error) (err error) {
	for _, dir := range []string{run, runTable} {
		if err := b.fsys.Mkdir(ctx, dir, 0o755); err != nil {
			return err
		}
	}
	if err := b.fsys.Rename(ctx, home, path.Join(runTable, partition)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.bringHome(ctx)) }()
	if register != nil {
		if err := register(); err != nil {
			return err
		}
	}
	c, said, err := b.timed(ctx, []string{b.binary, "upsert", table, "--from", b.services.HDFS + changes, "--key", lineitemKey,
		"--partition", partition, "--output", "json", "--verbose", "--no-progress"})
	if err != nil {
		return err
	}
	r.Costs, r.Wire = append(r.Costs, c), said.number("bytes_read=(\\d+)")
	r.Probed = said.number(`"read": *(\d+)`)
	if r.Rows == "" {
		r.Rows, err = b.rows(ctx, r.Tool)
	}
	return err
}

// bringHome puts the partition's old folder back, from the history or from where it stayed.
func (b *cluster) bringHome(ctx context.Context) error {
	old := path.Join(runState, "history", partition, "origin")
	if _, err := b.fsys.Stat(ctx, old); errors.Is(err, fs.ErrNotExist) {
		old = path.Join(runTable, partition)
	}
	if err := b.fsys.Rename(ctx, old, home); err != nil {
		return err
	}
	b.remove(run)
	return nil
}

func (b *cluster) remove(dir string) {
	if _, err := b.services.Try("rm " + dir); err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err) // the next run fails where it is in its way
	}
}

// bySpark merges by a full outer join, as the answer of a session that is up times it.
func (b *cluster) bySpark(ctx context.Context, changes string, r *hdfsResult) error {
	defer b.remove("/spark")
	merge := subject{
		Table: b.services.HDFS + home, Changes: b.services.HDFS + changes, Key: strings.Split(lineitemKey, ","), Mode: "upsert", Compression: "snappy",
	}
	c, err := sparkMerge(ctx, b.spark, b.work, merge.task(b.services.HDFS+"/spark"))
	if err != nil {
		return err
	}
	r.Costs = append(r.Costs, c)
	r.Rows, err = b.rowsAt(ctx, "/spark")
	return err
}

// rows says what a merge of the run's table has left.
func (b *cluster) rows(ctx context.Context, tool string) (string, error) {
	if tool == "rename" {
		return b.rowsAt(ctx, path.Join(runTable, partition))
	}
	t, err := b.hive.Table(ctx, "bench", "lineitem")
	if err != nil {
		return "", err
	}
	list, err := b.hive.Partitions(ctx, t, []string{partition})
	if err != nil || len(list) != 1 {
		return "", errors.Join(err, fmt.Errorf("%d partitions", len(list)))
	}
	return b.rowsAt(ctx, strings.TrimPrefix(list[0].Location, b.services.HDFS))
}

// rowsAt fetches a folder and counts and hashes its rows.
func (b *cluster) rowsAt(ctx context.Context, dir string) (string, error) {
	to := filepath.Join(b.work, "rows")
	defer os.RemoveAll(to)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return "", err
	}
	if err := fetch(ctx, b.fsys, dir, to); err != nil {
		return "", err
	}
	return bench{Python: b.python}.rows(ctx, to)
}

// register makes a table of the metastore over a folder.
func (b *cluster) register(ctx context.Context, name, folder string, columns []metastore.Column, by metastore.Column, partitions []string) error {
	err := b.hive.CreateTable(ctx, metastore.NewTable{Database: "bench", Name: name, Location: b.services.HDFS + folder,
		Columns: columns, PartitionBy: []metastore.Column{by}})
	if err != nil {
		return err
	}
	t, err := b.hive.Table(ctx, "bench", name)
	if err != nil {
		return err
	}
	at := map[string]string{}
	for _, p := range partitions {
		at[p] = b.services.HDFS + path.Join(folder, p)
	}
	return b.hive.AddPartitions(ctx, t, at)
}

// lineitem are the columns as the metastore has them.
func lineitem() (columns []metastore.Column) {
	types := strings.Fields("l_orderkey bigint l_partkey bigint l_suppkey bigint l_linenumber int l_quantity decimal(15,2) " +
		"l_extendedprice decimal(15,2) l_discount decimal(15,2) l_tax decimal(15,2) l_returnflag string l_linestatus string " +
		"l_shipdate date l_commitdate date l_receiptdate date l_shipinstruct string l_shipmode string l_comment string")
	for i := 0; i < len(types); i += 2 {
		columns = append(columns, metastore.Column{Name: types[i], Type: types[i+1]})
	}
	return columns
}

// said is what a command has printed.
type said string

func (s said) find(pattern string) string {
	m := regexp.MustCompile(pattern).FindAllStringSubmatch(string(s), -1)
	if len(m) == 0 {
		return ""
	}
	return m[len(m)-1][1]
}

func (s said) number(pattern string) int64 {
	n, _ := strconv.ParseInt(s.find(pattern), 10, 64) // 0 where it says nothing
	return n
}

// timed is the timing of the local benchmark, and what the command said.
func (b *cluster) timed(ctx context.Context, command []string) (cost, said, error) {
	c, output, err := timedOutput(ctx, command)
	return c, said(output), err
}
