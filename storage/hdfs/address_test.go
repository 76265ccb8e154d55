package hdfs

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/storage/hadoop"
)

func TestResolve(t *testing.T) {
	ha := map[string]string{
		"fs.defaultFS": "hdfs://ns1", "dfs.nameservices": "ns1, ns2,ns3", "dfs.ha.namenodes.ns1": "a, b",
		"dfs.namenode.rpc-address.ns1.a": "host-a:9000", "dfs.namenode.rpc-address.ns1.b": "host-b",
		"dfs.namenode.rpc-address.ns2": "host-c:9001", "dfs.ha.namenodes.ns4": "a,b", "dfs.namenode.rpc-address.ns4.a": "x:1",
	}
	for _, c := range []struct {
		url       string
		conf      map[string]string
		name      string
		namenodes []string
		path      string
		says      string
	}{
		{"hdfs://h:9000/a/b", nil, "h:9000", []string{"h:9000"}, "/a/b", ""},
		{"hdfs://h/a//b/", nil, "h:8020", []string{"h:8020"}, "/a/b", ""},
		{"hdfs://h", nil, "h:8020", []string{"h:8020"}, "/", ""},
		{"hdfs://[::1]:9000/a", nil, "[::1]:9000", []string{"[::1]:9000"}, "/a", ""},
		{"hdfs://ns1/t/d=a%2Fb", ha, "ns1", []string{"host-a:9000", "host-b:8020"}, "/t/d=a%2Fb", ""},
		{"hdfs:///t", ha, "ns1", []string{"host-a:9000", "host-b:8020"}, "/t", ""},
		{"hdfs://ns2/t", ha, "ns2", []string{"host-c:9001"}, "/t", ""},
		{"hdfs://ns3/t", ha, "", nil, "", "ns3"},
		{"hdfs://ns4/t", ha, "", nil, "", "dfs.namenode.rpc-address.ns4.b"},
		{"hdfs:///t", map[string]string{"fs.defaultFS": "hdfs://h:1"}, "h:1", []string{"h:1"}, "/t", ""},
		{"hdfs:///t", map[string]string{"fs.default.name": "hdfs://h:1/"}, "h:1", []string{"h:1"}, "/t", ""},
		{"hdfs:///t", map[string]string{"fs.defaultFS": "file:///"}, "", nil, "", "no HDFS"},
		{"hdfs:///t", nil, "", nil, "", "HADOOP_CONF_DIR"},
		{"hdfs://u@h/t", nil, "", nil, "", "HADOOP_USER_NAME"},
		{"hdfs://:1/t", nil, "", nil, "", "host:port"},
		{"file:///t", nil, "", nil, "", "hdfs://"},
	} {
		a, name, err := Resolve(c.url, hadoop.Of(c.conf))
		if c.says != "" {
			if !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.url) {
				t.Errorf("%s: %v", c.url, err)
			}
			continue
		}
		if err != nil || a.Name != c.name || !slices.Equal(a.Namenodes, c.namenodes) || name != c.path {
			t.Errorf("%s: %+v %s %v", c.url, a, name, err)
		}
	}
}

func TestSizeOf(t *testing.T) {
	for text, want := range map[string]int64{"128m": 128 << 20, "1024": 1024, " 2G ": 2 << 30, "": 0, "x": 0, "-1": 0, "9t": 9 << 40, "99999999999999t": 0, "1x": 0} {
		if got := sizeOf(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
