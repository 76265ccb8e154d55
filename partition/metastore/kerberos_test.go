package metastore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
)

// A metastore that lets in nobody without Kerberos.
func TestKerberos(t *testing.T) {
	secured := servicetest.Start(t, servicetest.Options{Metastore: true, Kerberos: true})
	t.Setenv("KRB5_CONFIG", secured.KRB5Conf)
	for _, version := range []string{"2.3", "3.1", "4.0"} {
		t.Run(version, func(t *testing.T) {
			host := secured.Metastore
			if version != "3.1" {
				host, _ = servicetest.StartMetastore(t, version, servicetest.Options{On: secured, Kerberos: true})
			}
			letIn(t, secured, host)
		})
	}
	t.Run("refused", func(t *testing.T) { keptOut(t, secured) })
}

// config is that of a user whose keys are in the services' keytab.
func config(s *servicetest.Services, host, user string) Config {
	login := hadoop.Credentials{Keytab: s.Keytab, Principal: user + "@" + s.Realm}
	return Config{Hosts: []string{host}, Kerberos: login.Ticket, Principal: "hive/_HOST@" + s.Realm,
		Timeout: 20 * time.Second, DialTimeout: 5 * time.Second, RetryFor: time.Millisecond}
}

// letIn does what a publish does.
func letIn(t *testing.T, secured *servicetest.Services, host string) {
	m, err := Dial(t.Context(), config(secured, host, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := service{Client: m, database: "k" + strings.ReplaceAll(filepath.Base(t.Name()), ".", ""), location: secured.HDFS + secured.Folder(t)}
	if err := s.CreateDatabase(t.Context(), s.database, s.location); err != nil {
		t.Fatal(err)
	}
	table := s.create(t)
	if table.Owner != "alice" && table.Owner != "" {
		t.Errorf("the table is %s's", table.Owner)
	}
	r := s.Registry(table, RegistryOptions{})
	list := pointers(table, 300) // answers of many buffers
	point(t, r, list)
	point(t, r, onward(list, "next"))
	seen, err := r.Look(t.Context(), names(list))
	if err != nil || len(seen) != len(list) {
		t.Errorf("%d partitions: %v", len(seen), err)
	}
}

// keptOut tries what is not let in: each says why.
func keptOut(t *testing.T, secured *servicetest.Services) {
	wrong := filepath.Join(t.TempDir(), "wrong.keytab")
	if err := os.WriteFile(wrong, []byte{5, 2}, 0o600); err != nil {
		t.Fatal(err)
	}
	plain := servicetest.Shared(t).Metastore
	protected, _ := servicetest.StartMetastore(t, "4.0", servicetest.Options{On: secured, Kerberos: true, Conf: map[string]string{"hadoop.rpc.protection": "privacy"}})
	for _, c := range []struct {
		name   string
		change func(*Config)
		hint   string
	}{
		{"without Kerberos", func(c *Config) { c.Kerberos, c.User = nil, "alice" }, "hive.metastore.sasl.enabled"},
		{"to one without Kerberos", func(c *Config) { c.Hosts, c.DialTimeout = []string{plain}, time.Second }, "hive.metastore.sasl.enabled"},
		{"another service", func(c *Config) { c.Principal = "HTTP/_HOST" }, "HTTP/localhost"},
		{"a service that is none", func(c *Config) { c.Principal = "nobody/_HOST" }, "hive.metastore.kerberos.principal"},
		{"an empty keytab", func(c *Config) { c.Kerberos = hadoop.Credentials{Keytab: wrong, Principal: "alice"}.Ticket }, "kinit"},
		{"to one that encrypts", func(c *Config) { c.Hosts = []string{protected} }, "hadoop.rpc.protection"},
		{"no principal", func(c *Config) { c.Principal = "hive" }, ""},
	} {
		conf := config(secured, secured.Metastore, "alice")
		c.change(&conf)
		_, err := Dial(t.Context(), conf)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, ErrUsage) || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		t.Logf("%s: %v (%s)", c.name, err, e.Hint)
	}
}
