package partition

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestFullTemporaryFolder fills a file system of its own, where mounts are allowed.
func TestFullTemporaryFolder(t *testing.T) {
	b := newBench(t)
	b.create(days(10, 1, "old")[1:]...)
	before := b.snapshot()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("something of it is open: %v", err)
		}
	}()
	rep, err := b.try(Options{Memory: 64 << 10, TempDir: dir}, b.write("source.csv", days(50_000, 3, "new")...))
	if KindOf(err) != KindStorage || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(Hint(err), "--temp-dir") {
		t.Errorf("%s: %v; hint: %s", KindOf(err), err, Hint(err))
	}
	if rep.Error == nil || rep.Error.Kind != KindStorage {
		t.Errorf("%+v", rep.Error)
	}
	if b.snapshot() != before {
		t.Error("the table changed")
	}
	b.clean()
}

// TestDescriptors: whatever a run that spills ends with, it has no file open afterwards.
func TestDescriptors(t *testing.T) {
	open := func() string {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		var b strings.Builder
		for _, e := range list {
			name, _ := os.Readlink("/proc/self/fd/" + e.Name())
			if strings.HasPrefix(name, "/") && !strings.HasSuffix(name, "/fd") {
				b.WriteString(name + "\n")
			}
		}
		return b.String()
	}
	for _, c := range spilling {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.upsert(Options{Create: true, Mode: Append, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string"}, b.write("first.csv", c.old...))
			o := c.options
			o.Memory, o.TempDir, o.Rejects = 64<<10, t.TempDir(), b.path("rejects")
			before := open()
			if _, err := b.try(o, b.write("source.csv", c.source...)); KindOf(err) != c.kind {
				t.Fatal(err)
			}
			if after := open(); after != before {
				t.Errorf("open before:\n%sopen after:\n%s", before, after)
			}
		})
	}
}
