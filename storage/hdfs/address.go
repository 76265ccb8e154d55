package hdfs

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/storage/hadoop"
)

// Scheme is that of URLs that Resolve takes.
const Scheme = "hdfs"

// defaultPort is the namenodes' where a URL names none.
const defaultPort = "8020"

// ErrAddress says that a URL does not lead to a namenode.
var ErrAddress = errors.New("no HDFS address")

// Address is where a file system is served.
type Address struct {
	// Name is the file system's: a nameservice, or host:port.
	Name string
	// Namenodes are those that serve it, host:port each: one, or several of which one is active.
	Namenodes []string
}

// String is the URL of the file system's root.
func (a Address) String() string { return Scheme + "://" + a.Name }

// Resolve finds the file system and the path of a URL: hdfs://host:port/path, hdfs://host/path (port 8020),
// hdfs://nameservice/path by the settings, and hdfs:///path by fs.defaultFS. Errors match [ErrAddress] and say what helps.
func Resolve(raw string, conf hadoop.Conf) (Address, string, error) {
	rest, ok := strings.CutPrefix(raw, Scheme+"://")
	if !ok {
		return Address{}, "", fmt.Errorf("%w: %s; it begins with hdfs://", ErrAddress, raw)
	}
	// By hand: partition paths hold % that is no escape.
	authority, name, _ := strings.Cut(rest, "/")
	if authority == "" {
		var err error
		if authority, err = defaultAuthority(conf); err != nil {
			return Address{}, "", fmt.Errorf("%w: %s: %w", ErrAddress, raw, err)
		}
	}
	a, err := addressOf(authority, conf)
	if err != nil {
		return Address{}, "", fmt.Errorf("%w: %s: %w", ErrAddress, raw, err)
	}
	return a, path.Clean("/" + name), nil
}

// defaultAuthority is the host or nameservice of fs.defaultFS.
func defaultAuthority(conf hadoop.Conf) (string, error) {
	value := conf.Get("fs.defaultFS")
	if value == "" {
		value = conf.Get("fs.default.name")
	}
	u, err := url.Parse(value)
	switch {
	case value == "" && conf.Dir == "":
		return "", errors.New("without a host it is that of fs.defaultFS, and there are no settings; set HADOOP_CONF_DIR, or write hdfs://host:port/")
	case value == "":
		return "", fmt.Errorf("without a host it is that of fs.defaultFS, which %s/core-site.xml does not set; write hdfs://host:port/", conf.Dir)
	case err != nil || u.Scheme != Scheme || u.Host == "":
		return "", fmt.Errorf("fs.defaultFS is %q in %s, and no HDFS; write hdfs://host:port/", value, conf.Dir)
	}
	return u.Host, nil
}

func addressOf(authority string, conf hadoop.Conf) (Address, error) {
	if strings.ContainsAny(authority, "@ ") {
		return Address{}, errors.New("the URL names a user; --hadoop-user or HADOOP_USER_NAME does that")
	}
	if ids := split(conf.Get("dfs.ha.namenodes." + authority)); len(ids) > 0 {
		a := Address{Name: authority}
		for _, id := range ids {
			key := "dfs.namenode.rpc-address." + authority + "." + id
			at := conf.Get(key)
			if at == "" {
				return Address{}, fmt.Errorf("nameservice %s has a namenode %s, and %s does not say %s", authority, id, conf.Dir, key)
			}
			a.Namenodes = append(a.Namenodes, withPort(at))
		}
		return a, nil
	}
	if slices.Contains(split(conf.Get("dfs.nameservices")), authority) {
		if at := conf.Get("dfs.namenode.rpc-address." + authority); at != "" {
			return Address{Name: authority, Namenodes: []string{withPort(at)}}, nil
		}
		return Address{}, fmt.Errorf("nameservice %s has neither dfs.ha.namenodes.%s nor dfs.namenode.rpc-address.%s in %s", authority, authority, authority, conf.Dir)
	}
	host, port, err := net.SplitHostPort(withPort(authority))
	if err != nil || host == "" || port == "" {
		return Address{}, fmt.Errorf("%q is no host:port", authority)
	}
	at := net.JoinHostPort(host, port)
	return Address{Name: at, Namenodes: []string{at}}, nil
}

func withPort(authority string) string {
	if _, _, err := net.SplitHostPort(authority); err != nil {
		return net.JoinHostPort(strings.Trim(authority, "[]"), defaultPort)
	}
	return authority
}

// split takes a list of Hadoop's settings apart.
func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}
