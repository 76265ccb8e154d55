package hdfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"testing"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/storagetest"
)

func testFS(t *testing.T, change func(*Options)) (*FS, string) {
	t.Helper()
	a, _, err := Resolve("hdfs://"+os.Getenv("HUPSERT_TEST_HDFS"), hadoop.Conf{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Address: a, Pulse: 200 * time.Millisecond, Silence: 1500 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	f, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	dir := path.Join("/test", t.Name()+time.Now().Format("150405.000000"))
	for at, rest := "/", dir[1:]; rest != ""; {
		var name string
		name, rest, _ = cut(rest)
		at = path.Join(at, name)
		if err := f.Mkdir(t.Context(), at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	return f, dir
}

func cut(s string) (string, string, bool) {
	for i := range s {
		if s[i] == '/' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func TestSuite(t *testing.T) {
	storagetest.RunWith(t, storagetest.Traits{SeenWhenClosed: true, NoSetGroupID: true, LocksAreFiles: true, Rounds: 20},
		func(t *testing.T) (storage.FS, string) { return testFS(t, nil) })
}
