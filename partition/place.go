package partition

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/local"
)

// place is a name on a storage.
type place struct {
	fsys   storage.FS
	device string // what tells storages apart: "" the local disks, "hdfs://nameservice"
	name   string // absolute
}

// url is the place as others can be told it.
func (p place) url() string { return p.device + p.name }

// local reports whether it is on the machine's own disks.
func (p place) local() bool { return p.device == "" }

// holds reports whether another place is this folder or lies in it.
func (p place) holds(other place) bool { return p.device == other.device && inside(other.name, p.name) }

// storages opens the storages that URLs name, each once.
type storages struct {
	hadoop Hadoop
	mu     sync.Mutex
	opened map[string]storage.FS
}

// find gives the place that a path or URL names. It need not exist.
func (s *storages) find(url string) (place, error) {
	scheme, _, ok := strings.Cut(url, "://")
	if !ok || scheme == "file" {
		name, err := localPath(url)
		return place{fsys: local.FS{}, name: name}, err
	}
	return place{}, fault(ErrUsage, "%s: no storage for %s:// URLs", url, scheme).hint("paths, file:/// and hdfs:// URLs can be read")
}

// resolve follows the symlinks of a place, where its storage may have any.
func (p place) resolve() (place, error) {
	if !p.local() {
		return p, nil
	}
	var err error
	p.name, err = resolve(p.name)
	return p, err
}

// inside reports whether a name is a folder or lies in it.
func inside(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// localPath makes an absolute path of a path or file URL.
func localPath(name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "file://"); ok {
		rest, _ = strings.CutPrefix(rest, "localhost")
		if !strings.HasPrefix(rest, "/") {
			return "", fault(ErrUsage, "%s: want file:///path", name)
		}
		name = rest
	} else if strings.Contains(name, "://") {
		return "", fault(ErrUsage, "%s: only files of this machine can be written", name).hint("name a path or a file:/// URL")
	}
	if name == "" {
		return "", fault(ErrUsage, "an empty path")
	}
	return filepath.Abs(name)
}

// resolve follows the symlinks of a path; what does not exist yet is appended as it is.
func resolve(name string) (string, error) {
	target, err := filepath.EvalSymlinks(name)
	if err == nil {
		return target, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || path.Dir(name) == name {
		return "", err
	}
	dir, err := resolve(path.Dir(name))
	return path.Join(dir, path.Base(name)), err
}

// exists reports whether anything is at a place.
func (p place) exists(ctx context.Context) bool {
	_, err := p.fsys.Stat(ctx, p.name)
	return err == nil
}
