package metastore

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		url  string
		want Address
	}{
		{"hive://host:9083/db.table", Address{[]string{"host:9083"}, "db", "table"}},
		{"HIVE://host/Shop.Orders/", Address{[]string{"host:9083"}, "shop", "orders"}},
		{"hive://h1:9083,h2,[::1]:1,[fe80::1]/db.t", Address{[]string{"h1:9083", "h2:9083", "[::1]:1", "[fe80::1]:9083"}, "db", "t"}},
		{"hive:///db.table", Address{nil, "db", "table"}},
	} {
		a, err := ParseURL(c.url)
		if err != nil || !slices.Equal(a.Hosts, c.want.Hosts) || a.Database != c.want.Database || a.Table != c.want.Table {
			t.Errorf("%s is %v, %v", c.url, a, err)
		}
		if again, err := ParseURL(a.String()); err != nil || again.String() != a.String() {
			t.Errorf("%s is %v, %v", a, again, err)
		}
	}
}

func TestBadURLs(t *testing.T) {
	for _, c := range []struct{ url, says, hint string }{
		{"hive://db.orders", "names no table", "hive:///db.orders"},
		{"hive://host:9083", "names no table", "hive://HOST"},
		{"hive://host:9083/", "names no table", ""},
		{"hive://host/orders", `"orders" is no name`, "default"},
		{"hive://host/a.b.c", "is no name", ""},
		{"hive://host/a.", "is no name", ""},
		{"hive://host/a.b c", "is no name", ""},
		{"hive://host:0/a.b", "want a port", ""},
		{"hive://host:70000/a.b", "want a port", ""},
		{"hive://host:x/a.b", "want a port", ""},
		{"hive://h1,,h2/a.b", "want a host's name", ""},
		{"hive://user@host/a.b", "want a host's name", ""},
		{"hive://::1/a.b", "[ADDRESS]:PORT", ""},
		{"hdfs://host/a.b", "no URL of a metastore", ""},
		{"/a.b", "no URL of a metastore", ""},
	} {
		_, err := ParseURL(c.url)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.says) || !strings.Contains(e.Hint, c.hint) || e.Hint == "" {
			t.Errorf("%s: %v (%v)", c.url, err, e)
		}
	}
}

func TestSettings(t *testing.T) {
	read := func(set map[string]string) (Settings, error) {
		return ReadSettings(func(name string) string { return set[name] })
	}
	s, err := read(map[string]string{
		"hive.metastore.uris": "thrift://h1:9083, thrift://h2", "hive.metastore.sasl.enabled": "TRUE",
		"hive.metastore.kerberos.principal": "hive/_HOST@R", "hive.metastore.client.socket.timeout": "10m",
	})
	if err != nil || !slices.Equal(s.Hosts, []string{"h1:9083", "h2:9083"}) || !s.Kerberos || s.Principal != "hive/_HOST@R" || s.Timeout != 10*time.Minute {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = read(map[string]string{"metastore.thrift.uris": "thrift://h1:1", "metastore.client.socket.timeout": "90"})
	if err != nil || !slices.Equal(s.Hosts, []string{"h1:1"}) || s.Kerberos || s.Timeout != 90*time.Second {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []map[string]string{
		{"hive.metastore.use.SSL": "true"}, {"metastore.thrift.framed.transport.enabled": "true"}, {"hive.metastore.thrift.compact.protocol.enabled": "true"},
		{"metastore.client.thrift.transport.mode": "http"}, {"hive.metastore.service.discovery.mode": "zookeeper"}, {"metastore.client.auth.mode": "PLAIN"},
		{"hive.metastore.uris": "http://h"}, {"hive.metastore.client.socket.timeout": "soon"}, {"hive.metastore.client.socket.timeout": "10 years"},
	} {
		if _, err := read(bad); !errors.Is(err, ErrUsage) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestServicePrincipal(t *testing.T) {
	for principal, want := range map[string]string{"hive/_HOST@R.COM": "hive/ms1", "hms/x.y@R": "hms/x.y", "hive/_HOST": "hive/ms1", "hive@R": "", "": "", "/x": ""} {
		got, err := servicePrincipal(principal, "MS1:9083")
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s is %s, %v", principal, got, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	one := func(home, fallback string) *places {
		return &places{home: parsePlace(home), fallback: parsePlace(fallback), alias: func(host string) string {
			if host == "nn1" || host == "nn2:9000" {
				return "ns1"
			}
			return host
		}}
	}
	for _, c := range []struct {
		home, fallback, location, folder string
		here                             bool
	}{
		{"hdfs://nn:8020/w/t", "", "hdfs://nn/w/t/dt=1/", "/w/t/dt=1", true},
		{"hdfs://nn/w/t", "", "hdfs://NN:8020//w//t", "/w/t", true},
		{"hdfs://nn:9000/w", "", "hdfs://nn/w", "/w", false},
		{"hdfs://nn/w", "", "hdfs://other/w", "/w", false},
		{"hdfs://nn/w", "", "file:/w", "/w", false},
		{"hdfs://ns1/w", "", "hdfs://nn1:8020/w", "/w", true},
		{"hdfs://nn2:9000/w", "", "hdfs://ns1/w", "/w", true},
		{"hdfs://nn/w", "hdfs://nn:8020", "hdfs:/w/x", "/w/x", true},
		{"hdfs:///w", "hdfs://nn:8020/", "hdfs://nn/w/x", "/w/x", true},
		{"hdfs://nn/w", "hdfs://nn", "/w/x", "/w/x", true},
		{"hdfs://nn/w", "file:///", "/w/x", "/w/x", false},
		{"file:/w", "", "file:///w/x", "/w/x", true},
		{"file://localhost/w", "", "file:/w/x", "/w/x", true},
		{"hdfs://nn/w", "", "hdfs://nn/w/a%3Ab=1:2", "/w/a%3Ab=1:2", true},
		{"s3a://b/w", "", "s3a://c/w", "/w", false},
	} {
		folder, here := one(c.home, c.fallback).folder(c.location)
		if folder != c.folder || here != c.here {
			t.Errorf("%s is %s (%v) for a table at %s", c.location, folder, here, c.home)
		}
	}
	for home, want := range map[string]string{"hdfs://NN:8020/w": "hdfs://NN:8020/s/v1", "file:/w": "file:/s/v1", "hdfs:///w": "hdfs:///s/v1", "/w": "/s/v1"} {
		if got := one(home, "").location("/s/v1"); got != want {
			t.Errorf("a folder beside %s is %s", home, got)
		}
	}
}

func TestShared(t *testing.T) {
	var list []*Partition
	for name, location := range map[string]string{
		"dt=1": "hdfs://nn/t/a", "dt=2": "hdfs://nn:8020/t/a/", "dt=3": "hdfs://nn/t/a-b", "dt=4": "hdfs://nn/t/a/b/c", "dt=5": "hdfs://nn/t/b", "dt=6": "hdfs://other/t/b",
	} {
		list = append(list, &Partition{Name: name, Location: location})
	}
	if got, want := Shared(list), [][2]string{{"dt=1", "dt=2"}, {"dt=1", "dt=4"}}; !slices.Equal(got, want) {
		t.Errorf("%v share folders, not %v", got, want)
	}
}

// A partition without a location is not at the root of the default file system.
func TestNoLocation(t *testing.T) {
	m := &Client{}
	r := m.Registry(&Table{Database: "d", Name: "t", Location: "hdfs://nn/w/t"}, RegistryOptions{DefaultFS: "hdfs://nn"})
	if folder, err := r.Folder("dt=1", ""); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "dt=1") {
		t.Errorf("%q, %v", folder, err)
	}
}
