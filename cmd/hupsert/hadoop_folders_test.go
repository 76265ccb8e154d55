package main

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
	"github.com/hupsert/hupsert/storage/stage"
)

// folderCommands are commands of scripts that look at folders on HDFS.
func folderCommands(s *servicetest.Services) map[string]func(*testscript.TestScript, bool, []string) {
	c := cluster{s}
	return map[string]func(*testscript.TestScript, bool, []string){
		"push": c.push, "pull": c.pull, "locations": c.locations, "stagedNothing": c.stagedNothing,
	}
}

type cluster struct{ s *servicetest.Services }

// do carries out a command of the services.
func (c cluster) do(args []string) (string, error) {
	words := make([]string, len(args))
	for i, word := range args {
		words[i] = strings.TrimPrefix(word, c.s.HDFS)
		if dir, ok := strings.CutSuffix(words[i], "/*"); ok {
			names, err := c.s.Try("ls\t" + dir)
			if err != nil {
				return "", err
			}
			first, _, _ := strings.Cut(names, "\t")
			words[i] = dir + "/" + first
		}
	}
	return c.s.Try(strings.Join(words, "\t"))
}

func (c cluster) push(ts *testscript.TestScript, _ bool, args []string) {
	to := strings.TrimPrefix(args[1], c.s.HDFS)
	for _, command := range []string{"mkdir\t" + path.Dir(to), "putfile\t" + ts.MkAbs(args[0]) + "\t" + to} {
		_, err := c.s.Try(command)
		ts.Check(err)
	}
}

func (c cluster) pull(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(c.copy(map[string]string{args[0]: ts.MkAbs(args[1])}))
}

func (c cluster) locations(ts *testscript.TestScript, _ bool, args []string) {
	address, err := metastore.ParseURL(args[0])
	ts.Check(err)
	m, err := dialHive(c.s)
	ts.Check(err)
	defer m.Close()
	table, err := m.Table(context.Background(), address.Database, address.Table)
	ts.Check(err)
	names, err := m.PartitionNames(context.Background(), address.Database, address.Table)
	ts.Check(err)
	partitions, err := m.Partitions(context.Background(), table, names)
	ts.Check(err)
	to := ts.MkAbs(args[1])
	ts.Check(os.RemoveAll(to))
	folders := map[string]string{}
	for _, p := range partitions {
		folders[p.Location] = filepath.Join(to, p.Name)
	}
	ts.Check(c.copy(folders))
}

// copy copies folders of HDFS, with all that is in them.
func (c cluster) copy(folders map[string]string) error {
	address, _, err := hdfs.Resolve(c.s.HDFS+"/", hadoop.Conf{})
	if err != nil {
		return err
	}
	fsys, err := hdfs.Open(hdfs.Options{Address: address})
	if err != nil {
		return err
	}
	for from, to := range folders {
		err = errors.Join(err, os.RemoveAll(to), copyFolder(fsys, strings.TrimPrefix(from, c.s.HDFS), to))
	}
	return errors.Join(err, fsys.Close())
}

func copyFolder(fsys *hdfs.FS, from, to string) error {
	list, err := fsys.List(context.Background(), from)
	if err == nil {
		err = os.MkdirAll(to, 0o777)
	}
	for _, i := range list {
		if err != nil {
			return err
		}
		source, target := path.Join(from, i.Name), filepath.Join(to, i.Name)
		if i.IsDir() {
			err = copyFolder(fsys, source, target)
			continue
		}
		var data []byte
		if data, err = stage.ReadFile(context.Background(), fsys, source); err == nil {
			err = os.WriteFile(target, data, 0o666)
		}
	}
	return err
}

func (c cluster) stagedNothing(ts *testscript.TestScript, _ bool, args []string) {
	folder := strings.TrimPrefix(args[0], c.s.HDFS)
	staging := path.Join(path.Dir(folder), ".hupsert", path.Base(folder), "staging")
	names, err := c.s.Try("ls\t" + staging)
	ts.Check(err)
	opened, err := c.s.Try("leases\t" + path.Dir(folder))
	ts.Check(err)
	if names != "" || opened != "" {
		ts.Fatalf("staged: %s; open for writing: %s", names, opened)
	}
}
