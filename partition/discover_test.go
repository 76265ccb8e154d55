package partition

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/storage/local"
)

// tree makes files (and, where a name ends in "/", folders; "a -> b" is a symlink) below a folder.
func tree(t *testing.T, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		full := filepath.Join(root, link)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, full)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(full, 0o755)
		default:
			err = os.WriteFile(full, []byte("PAR1"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDiscover(t *testing.T) {
	for _, c := range []struct {
		name     string
		declared []string
		tree     []string
		want     string // columns: leaves
		err      error
		message  string
	}{
		{name: "one column", tree: []string{"dt=1/a.parquet", "dt=2/a.parquet"}, want: "dt: dt=1 dt=2"},
		{name: "two columns", tree: []string{"dt=1/r=a/x", "dt=1/r=b/x"}, want: "dt, r: dt=1/r=a dt=1/r=b"},
		{name: "no columns", tree: []string{"a.parquet", "_SUCCESS"}, want: "nothing: "},
		{name: "an empty folder", tree: nil, want: "nothing: "},
		{name: "hidden names are left alone", tree: []string{"dt=1/a", ".x/y", "_tmp/z", "_SUCCESS", "dt=1/.a.crc"}, want: "dt: dt=1"},
		{name: "a column that begins with _", tree: []string{"_c=1/a"}, want: "_c: _c=1"},
		{name: "an empty branch is no partition", tree: []string{"dt=1/r=a/x", "dt=2/"}, want: "dt, r: dt=1/r=a"},
		{name: "an empty leaf is one", tree: []string{"dt=1/x", "dt=2/"}, want: "dt: dt=1 dt=2"},
		{name: "declared types", declared: []string{"DT:date"}, tree: []string{"dt=2026-11-20/x"}, want: "DT: dt=2026-11-20"},
		{name: "declared and empty", declared: []string{"dt"}, tree: nil, want: "dt: "},

		{name: "files beside folders", tree: []string{"dt=1/a", "b.parquet"}, err: ErrLayout, message: "b.parquet beside dt=1/"},
		{name: "mixed depths", tree: []string{"dt=1/a", "dt=2/r=a/x"}, err: ErrLayout, message: "different depths: dt=1"},
		{name: "a folder in a leaf", tree: []string{"dt=1/sub/a"}, err: ErrLayout, message: "dt=1/sub"},
		{name: "different columns at a depth", tree: []string{"dt=1/a", "day=1/a"}, err: ErrLayout, message: "dt=1"},
		{name: "symlink to a partition", tree: []string{"dt=1/a", "dt=2 -> dt=1"}, err: ErrLayout, message: "dt=2 is a symlink"},
		{name: "symlink to a file", tree: []string{"dt=1/a", "dt=1/b -> a"}, err: ErrLayout, message: "dt=1/b is a symlink"},
		{name: "climbing", tree: []string{"dt=..%2Fx/a"}, err: ErrLayout, message: "\"..\""},
		{name: "declared otherwise", declared: []string{"day"}, tree: []string{"dt=1/a"}, err: ErrUsage, message: "partitioned by dt"},
		{name: "declared, but files in the folder", declared: []string{"dt"}, tree: []string{"a.parquet"}, err: ErrLayout, message: "the table's folder holds files"},

		{name: "Delta", tree: []string{"_delta_log/0.json", "dt=1/a"}, err: ErrForeignTable, message: "Delta"},
		{name: "Hudi", tree: []string{".hoodie/x", "dt=1/a"}, err: ErrForeignTable, message: "Hudi"},
		{name: "Hudi partition", tree: []string{"dt=1/.hoodie_partition_metadata"}, err: ErrForeignTable, message: "Hudi"},
		{name: "Iceberg", tree: []string{"metadata/v1.metadata.json", "data/dt=1/a"}, err: ErrForeignTable, message: "Iceberg"},
		{name: "Spark streaming", tree: []string{"_spark_metadata/0", "dt=1/a"}, err: ErrForeignTable, message: "_spark_metadata"},
		{name: "symlink manifests", tree: []string{"_symlink_format_manifest/x", "dt=1/a"}, err: ErrForeignTable, message: "manifest"},
		{name: "ACID base", tree: []string{"dt=1/base_0000005/bucket_00000"}, err: ErrForeignTable, message: "transactional"},
		{name: "ACID delta", tree: []string{"dt=1/delta_0000001_0000001_0000/bucket_00000"}, err: ErrForeignTable, message: "transactional"},
		{name: "bucketed by Spark", tree: []string{"dt=1/part-00000-0e8b7a7c-3c8b-4b52-8d43-2b1a3f0c9d11_00003.c000.snappy.parquet"}, err: ErrForeignTable, message: "bucketed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "table")
			tree(t, root, append([]string{"./"}, c.tree...)...)
			declared, err := ParseColumns(c.declared)
			if err != nil {
				t.Fatal(err)
			}
			l, err := discover(context.Background(), local.FS{}, root, declared)
			if c.err != nil {
				if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.message) {
					t.Fatalf("%v, want %v with %q", err, c.err, c.message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var leaves []string
			for _, leaf := range l.leaves {
				leaves = append(leaves, leaf.path)
			}
			if got := columnNames(l.columns) + ": " + strings.Join(leaves, " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDiscoverInsideOtherFormats(t *testing.T) {
	root := t.TempDir()
	tree(t, root, "delta/_delta_log/0.json", "delta/dt=1/a", "ice/metadata/v1.metadata.json", "ice/data/dt=1/a", "ok/data/a")
	for name, want := range map[string]error{"delta/dt=1": ErrForeignTable, "ice/data": ErrForeignTable, "ice/data/dt=1": ErrForeignTable, "ok/data": nil} {
		if _, err := discover(context.Background(), local.FS{}, filepath.Join(root, name), nil); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestDiscoverAbsent(t *testing.T) {
	l, err := discover(context.Background(), local.FS{}, filepath.Join(t.TempDir(), "none"), nil)
	if err != nil || l.exists {
		t.Errorf("an absent table: %+v, %v", l, err)
	}
}

func TestOtherWriters(t *testing.T) {
	root := t.TempDir()
	tree(t, root, "dt=1/_temporary/0/a", "dt=1/x", "dt=2/x", "dt=3/.hive-staging_hive_2026/a")
	l, err := discover(context.Background(), local.FS{}, root, nil)
	if err != nil {
		t.Fatal(err)
	}
	for partition, want := range map[string]string{"dt=1": "dt=1/_temporary", "dt=2": "", "dt=3": "dt=3/.hive-staging_hive_2026", "dt=10": ""} {
		if got := l.writing(partition); got != want {
			t.Errorf("%s: %q, want %q", partition, got, want)
		}
	}
}
