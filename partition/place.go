package partition

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
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
	hadoop   Hadoop
	logger   *slog.Logger
	mu       sync.Mutex
	settings *hadoop.Conf
	hooks    hooks
	opened   map[string]*hdfs.FS // by the cluster's name
}

// hooks are what tests put between us and a cluster; of the zero value nothing.
type hooks struct {
	options func(*hdfs.Options)
	storage func(*hdfs.FS) storage.FS
	catalog func(catalog) catalog
}

// between gives what is used of a cluster.
func (h hooks) between(cluster *hdfs.FS) storage.FS {
	if h.storage != nil {
		return h.storage(cluster)
	}
	return cluster
}

// find gives the place that a path or URL names. It need not exist.
func (s *storages) find(url string) (place, error) {
	url = plainURL(url)
	scheme, _, ok := strings.Cut(url, "://")
	switch {
	case !ok, scheme == "file":
		name, err := localPath(url)
		return place{fsys: local.FS{}, name: name}, err
	case scheme == hdfs.Scheme:
		return s.hdfs(url)
	}
	return place{}, fault(ErrUsage, "%s: no storage for %s:// URLs", url, scheme).hint("paths, file:/// and hdfs:// URLs can be read, and tables of a metastore as hive://")
}

// plainURL writes a URL as the rest of us reads it: schemes are known in capital letters too, and Hadoop's own tools
// write hdfs:/path where they mean the default file system.
func plainURL(url string) string {
	scheme, rest, ok := strings.Cut(url, ":/")
	if !ok {
		return url
	}
	switch small := strings.ToLower(scheme); {
	case small != hdfs.Scheme && small != metastore.Scheme && small != "file":
		return url
	case small == hdfs.Scheme && !strings.HasPrefix(rest, "/"):
		return small + ":///" + rest
	case strings.HasPrefix(rest, "/"):
		return small + ":/" + rest
	}
	return url
}

// hdfs gives the place that a URL names on a cluster, whose client is made with the first one.
func (s *storages) hdfs(url string) (place, error) {
	conf, err := s.conf()
	if err != nil {
		return place{}, err
	}
	address, name, err := hdfs.Resolve(url, conf)
	if err != nil {
		return place{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	opened := s.opened[address.Name]
	if opened == nil {
		o := hdfs.Options{Address: address, Conf: conf, Credentials: s.hadoop.credentials(), Logger: s.logger}
		if s.hooks.options != nil {
			s.hooks.options(&o)
		}
		opened, err = hdfs.Open(o)
		if err != nil {
			return place{}, err
		}
		if s.opened == nil {
			s.opened = map[string]*hdfs.FS{}
		}
		s.opened[address.Name] = opened
	}
	return place{fsys: s.hooks.between(opened), device: hdfs.Scheme + "://" + address.Name, name: name}, nil
}

// conf is Hadoop's settings, read once.
func (s *storages) conf() (hadoop.Conf, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settings == nil {
		conf, err := hadoop.Load()
		if err != nil {
			return conf, fault(ErrUsage, "%v", err).hint("HADOOP_CONF_DIR names the folder of core-site.xml and hdfs-site.xml")
		}
		s.settings = &conf
	}
	return *s.settings, nil
}

// alias gives namenodes the name of the nameservice that they serve.
func (s *storages) alias(conf hadoop.Conf) func(host string) string {
	names := map[string]string{}
	for _, service := range splitList(conf.Get("dfs.nameservices")) {
		address, _, err := hdfs.Resolve(hdfs.Scheme+"://"+service+"/", conf)
		if err != nil {
			continue // it serves nobody
		}
		for _, node := range address.Namenodes {
			names[strings.ToLower(strings.TrimSuffix(node, ":8020"))] = strings.ToLower(service)
		}
	}
	return func(host string) string {
		if service, ok := names[host]; ok {
			return service
		}
		return host
	}
}

// close ends the connections to clusters.
func (s *storages) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, opened := range s.opened {
		errs = append(errs, opened.Close())
	}
	s.opened = nil
	return errors.Join(errs...)
}

// credentials are who we are on a cluster.
func (h Hadoop) credentials() hadoop.Credentials {
	return hadoop.Credentials{User: h.User, Keytab: h.Keytab, Principal: h.Principal}
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
func (p place) exists(ctx context.Context) (bool, error) {
	_, err := p.fsys.Stat(ctx, p.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
