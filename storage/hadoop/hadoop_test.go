package hadoop

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files writes files into a folder.
func files(t *testing.T, of map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range of {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func property(pairs ...string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><configuration xmlns:xi="http://www.w3.org/2001/XInclude">`)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == "include" {
			b.WriteString(`<xi:include href="` + pairs[i+1] + `"/>`)
			continue
		}
		b.WriteString("<property><name>" + pairs[i] + "</name><value>\n " + pairs[i+1] + " </value><final>true</final></property>")
	}
	return b.String() + "</configuration>"
}

func TestLoad(t *testing.T) {
	t.Setenv("HUPSERT_TEST_HOST", "envhost")
	dir := files(t, map[string]string{
		"core-site.xml": property("fs.defaultFS", "hdfs://${host}:${port}", "port", "9000", "include", "more.xml", "env", "${env.HUPSERT_TEST_HOST}/${unknown}", "loop", "${loop}"),
		"more.xml":      property("host", "h1", "fs.defaultFS", "overridden"),
		"hdfs-site.xml": property("dfs.replication", "2", "port", "9001"),
		"hive-site.xml": property("hive.metastore.uris", "thrift://a:1", "dfs.replication", "2"),
	})
	hive := files(t, map[string]string{"hive-site.xml": property("hive.metastore.uris", "thrift://b:1")})
	for name, c := range map[string]struct {
		env  map[string]string
		want map[string]string
	}{
		"conf dir": {map[string]string{"HADOOP_CONF_DIR": dir}, map[string]string{
			"fs.defaultFS": "hdfs://h1:9001", "env": "envhost/${unknown}", "hive.metastore.uris": "thrift://a:1", "none": "", "loop": "${loop}",
		}},
		"hive's":   {map[string]string{"HADOOP_CONF_DIR": dir, "HIVE_CONF_DIR": hive}, map[string]string{"hive.metastore.uris": "thrift://b:1", "port": "9001"}},
		"home":     {map[string]string{"HADOOP_HOME": files(t, map[string]string{"etc/hadoop/core-site.xml": property("a", "b")})}, map[string]string{"a": "b"}},
		"old home": {map[string]string{"HADOOP_HOME": files(t, map[string]string{"conf/core-site.xml": property("a", "c")})}, map[string]string{"a": "c"}},
		"none":     {nil, map[string]string{"a": ""}},
	} {
		for _, v := range []string{"HADOOP_CONF_DIR", "HADOOP_HOME", "HIVE_CONF_DIR"} {
			t.Setenv(v, c.env[v])
		}
		conf, err := Load()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for key, want := range c.want {
			if got := conf.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
	}
}

func TestLoadFails(t *testing.T) {
	t.Setenv("HADOOP_HOME", "")
	t.Setenv("HIVE_CONF_DIR", "")
	for what, dir := range map[string]string{
		"no folder":                    "/no/such/folder",
		"no XML":                       files(t, map[string]string{"core-site.xml": "<configuration>"}),
		"an include that is not there": files(t, map[string]string{"core-site.xml": property("include", "gone.xml", "fs.defaultFS", "hdfs://a")}),
		"a circle":                     files(t, map[string]string{"core-site.xml": property("include", "core-site.xml")}),
	} {
		t.Setenv("HADOOP_CONF_DIR", dir)
		if _, err := Load(); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestUserName(t *testing.T) {
	t.Setenv("HADOOP_USER_NAME", "bob")
	if got := (Credentials{}).UserName(); got != "bob" {
		t.Error(got)
	}
	if got := (Credentials{User: "alice"}).UserName(); got != "alice" {
		t.Error(got)
	}
	t.Setenv("HADOOP_USER_NAME", "")
	if got := (Credentials{}).UserName(); got == "" || got == "bob" {
		t.Error(got)
	}
}

// TestLoginFails: what is wrong with a login is said without asking anybody.
func TestLoginFails(t *testing.T) {
	dir := files(t, map[string]string{
		"krb5.conf": "[libdefaults]\n default_realm = EXAMPLE.COM\n", "damaged": "\x05\x04\x00", "empty.keytab": "\x05\x02", "bad.keytab": "nothing of the kind",
	})
	at := func(name string) string { return filepath.Join(dir, name) }
	for what, c := range map[string]struct {
		conf, cache string
		who         Credentials
		says        string
	}{
		"no krb5.conf":    {"/no/krb5.conf", "", Credentials{}, "KRB5_CONFIG"},
		"no cache":        {at("krb5.conf"), at("none"), Credentials{}, "kinit"},
		"cache of a kind": {at("krb5.conf"), "KEYRING:persistent:0", Credentials{}, "KRB5CCNAME"},
		"damaged cache":   {at("krb5.conf"), "FILE:" + at("damaged"), Credentials{}, at("damaged")},
		"empty keytab":    {at("krb5.conf"), "", Credentials{Keytab: at("empty.keytab")}, at("empty.keytab")},
		"damaged keytab":  {at("krb5.conf"), "", Credentials{Keytab: at("bad.keytab")}, at("bad.keytab")},
	} {
		t.Setenv("KRB5_CONFIG", c.conf)
		t.Setenv("KRB5CCNAME", c.cache)
		if _, err := c.who.Kerberos(); !errors.Is(err, ErrLogin) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
