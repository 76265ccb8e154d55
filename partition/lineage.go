package partition

import (
	"path/filepath"
	"strings"

	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
)

// lineage is what the run has read, and what its table is.
func (r *run) lineage() *Lineage {
	l := &Lineage{Folder: r.place().url()}
	for _, f := range r.read.files {
		l.Sources = append(l.Sources, f.described())
	}
	if r.schema != nil {
		for _, f := range r.schema.Fields() {
			if columnIndex(r.layout.columns, f.Name) < 0 {
				l.Columns = append(l.Columns, Column{Name: f.Name, Type: f.Type})
			}
		}
		l.Columns = append(l.Columns, r.layout.columns...)
	}
	return l
}

// Address is what a path or URL names, in the form by which programs agree on names of data.
type Address struct {
	Store string // "file", "hdfs://namenode:8020" or "hive://metastore:9083"
	Name  string // an absolute path, or db.table
}

// Locate gives the address of a path or URL of a table or source, by Hadoop's settings where it names no host. It connects to nothing.
func Locate(url string) (Address, error) {
	url = plainURL(url)
	scheme, _, ok := strings.Cut(url, "://")
	switch {
	case !ok, scheme == "file":
		name, err := localPath(url)
		return Address{Store: "file", Name: filepath.Clean(name)}, err
	case scheme == hdfs.Scheme:
		conf, err := hadoop.Load()
		if err != nil {
			return Address{}, err
		}
		a, name, err := hdfs.Resolve(url, conf)
		return Address{Store: hdfs.Scheme + "://" + a.Name, Name: name}, err
	case scheme == metastore.Scheme:
		return locateHive(url)
	}
	return Address{}, fault(ErrUsage, "%s: no storage for %s:// URLs", url, scheme)
}

func locateHive(url string) (Address, error) {
	a, err := metastore.ParseURL(url)
	if err != nil {
		return Address{}, hiveError(err)
	}
	if len(a.Hosts) == 0 {
		conf, err := hadoop.Load()
		if err != nil {
			return Address{}, err
		}
		settings, err := metastore.ReadSettings(conf.Get)
		if err != nil {
			return Address{}, hiveError(err)
		}
		a.Hosts = settings.Hosts
	}
	if len(a.Hosts) == 0 {
		return Address{}, fault(ErrUsage, "%s names no metastore, and hive.metastore.uris is not set", url)
	}
	return Address{Store: metastore.Scheme + "://" + a.Hosts[0], Name: a.Database + "." + a.Table}, nil
}
