package metastore

import (
	"path"
	"strings"
)

// place is a location taken apart. The metastore has locations as Hadoop writes paths: nothing in them is encoded, so that a '%' is
// one of the folder's name.
type place struct {
	prefix string // "hdfs://nn:8020", "file:", "hdfs://", as it is written
	scheme string // in small letters; "": the default file system
	host   string // in small letters, with the default port; "": the scheme's default
	path   string // clean
}

// defaultPorts are those that URLs may leave away.
var defaultPorts = map[string]string{"hdfs": ":8020"}

// parsePlace takes apart "hdfs://nn:8020/x", "hdfs:/x", "hdfs:///x", "file:/x" and "/x".
func parsePlace(location string) place {
	var p place
	rest := location
	if i := strings.IndexAny(location, ":/"); i > 0 && location[i] == ':' {
		p.scheme, rest = strings.ToLower(location[:i]), location[i+1:]
	}
	if strings.HasPrefix(rest, "//") {
		host := rest[2:]
		if i := strings.IndexByte(host, '/'); i >= 0 {
			host = host[:i]
		}
		p.host, rest = strings.ToLower(host), rest[2+len(host):]
	}
	p.prefix = location[:len(location)-len(rest)]
	p.path = path.Clean("/" + rest)
	if p.scheme == "file" && p.host == "localhost" {
		p.host = ""
	}
	if port := defaultPorts[p.scheme]; p.host != "" {
		p.host = strings.TrimSuffix(p.host, port)
	}
	return p
}

// places knows which file systems are one, whatever they are called.
type places struct {
	// home is the storage of the table.
	home place
	// fallback is what a location without host, or without scheme, lies on (fs.defaultFS).
	fallback place
	// alias gives one name for all the names that a host has: that of a nameservice for its namenodes.
	alias func(host string) string
}

// full fills in what a location leaves to the default file system, and one name for a host.
func (s *places) full(p place) place {
	if p.scheme == "" {
		p.scheme, p.host = s.fallback.scheme, s.fallback.host
	}
	if p.host == "" && p.scheme == s.fallback.scheme {
		p.host = s.fallback.host
	}
	if s.alias != nil && p.host != "" {
		p.host = s.alias(p.host)
	}
	return p
}

// folder gives the path of a location on the table's storage; not ok where it lies elsewhere.
func (s *places) folder(location string) (folder string, ok bool) {
	p, home := s.full(parsePlace(location)), s.full(s.home)
	return p.path, p.scheme == home.scheme && p.host == home.host
}

// location gives the URL of a folder of the table's storage, in the table's own spelling.
func (s *places) location(folder string) string { return s.home.prefix + folder }
