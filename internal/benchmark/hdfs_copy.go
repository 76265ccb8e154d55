//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/storage"
)

// copiesAtOnce is as many files as a merge copies side by side.
const copiesAtOnce = 4

// copyFolder copies the files of a folder on HDFS into another one, which is there: from, a URL, to a path of the same
// cluster, with the client of a merge.
func copyFolder(ctx context.Context, from, to string) (err error) {
	fsys, err := openHDFS(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fsys.Close()) }()
	dir, err := pathOf(from)
	if err != nil {
		return err
	}
	list, err := fsys.List(ctx, dir)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(copiesAtOnce)
	for _, i := range list {
		g.Go(func() error { return copyFile(ctx, fsys, path.Join(dir, i.Name), path.Join(to, i.Name)) })
	}
	return g.Wait()
}

func copyFile(ctx context.Context, fsys storage.FS, from, to string) error {
	src, err := fsys.Open(ctx, from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	w, err := fsys.Create(ctx, to, 0o644)
	if err != nil {
		return err
	}
	err = w.CopyRange(src, 0, info.Size)
	if err == nil {
		err = w.Sync()
	}
	return errors.Join(err, w.Close())
}

// fetch copies the files of a folder on HDFS into one of this machine.
func fetch(ctx context.Context, fsys storage.FS, from, to string) error {
	list, err := fsys.List(ctx, from)
	if err != nil {
		return err
	}
	for _, i := range list {
		if err := fetchFile(ctx, fsys, path.Join(from, i.Name), filepath.Join(to, i.Name)); err != nil {
			return err
		}
	}
	return nil
}

func fetchFile(ctx context.Context, fsys storage.FS, from, to string) error {
	src, err := fsys.Open(ctx, from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.NewSectionReader(src, 0, info.Size))
	return errors.Join(err, f.Close())
}
