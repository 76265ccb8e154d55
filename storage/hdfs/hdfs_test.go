package hdfs

import (
	"log/slog"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/storagetest"
)

func TestMain(m *testing.M) { servicetest.Main(m) }

// settings are those that services have for their clients.
func settings(tb testing.TB, s *servicetest.Services) hadoop.Conf {
	tb.Helper()
	tb.Setenv("HADOOP_CONF_DIR", s.ConfDir)
	conf, err := hadoop.Load()
	if err != nil {
		tb.Fatal(err)
	}
	return conf
}

// connect opens the file system of services, with locks that are quick, and a fresh folder.
func connect(tb testing.TB, s *servicetest.Services, change func(*Options)) (*FS, string) {
	tb.Helper()
	conf := settings(tb, s)
	a, _, err := Resolve(s.HDFS, conf)
	if err != nil {
		tb.Fatal(err)
	}
	o := Options{Address: a, Conf: conf, Pulse: 200 * time.Millisecond, Silence: 2500 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(tb.Output(), nil))}
	if change != nil {
		change(&o)
	}
	f, err := Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	return f, s.Folder(tb)
}

// shared opens the file system that the tests share.
func shared(tb testing.TB) (*FS, string) {
	tb.Helper()
	return connect(tb, servicetest.Shared(tb), nil)
}

func TestSuite(t *testing.T) {
	storagetest.RunWith(t, storagetest.Traits{SeenWhenClosed: true, NoSetGroupID: true, LocksAreFiles: true, Rounds: 20},
		func(t *testing.T) (storage.FS, string) { return shared(t) })
}
