package local

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestRenamePortably holds the rename of systems without an exclusive one to the same promises.
func TestRenamePortably(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"dir", "full"} {
		if err := errors.Join(os.Mkdir(at(d), 0o755), os.WriteFile(at(d+"/f"), []byte(d), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(at("file"), nil, 0o600), os.WriteFile(at("taken"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to string
		want     error
	}{
		{"dir", "full", fs.ErrExist},
		{"dir", "taken", fs.ErrExist},
		{"file", "taken", fs.ErrExist},
		{"file", "full", fs.ErrExist},
		{"no", "new", fs.ErrNotExist},
		{"dir", "no/dir", fs.ErrNotExist},
		{"file", "no/file", fs.ErrNotExist},
		{"dir", "dir2", nil},
		{"file", "file2", nil},
	} {
		err := renamePortably(at(c.from), at(c.to))
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s -> %s: %v, want %v", c.from, c.to, err, c.want)
		}
	}
	got, err := os.ReadFile(at("dir2/f"))
	if err != nil || string(got) != "dir" {
		t.Errorf("the folder holds %q, %v", got, err)
	}
	if _, err := os.Lstat(at("file")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a moved file kept its old name: %v", err)
	}
}

func TestCopyThroughMemory(t *testing.T) {
	dst, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	src := bytes.NewReader(bytes.Repeat([]byte("0123456789"), 1<<18))
	if err := copyThroughMemory(dst, src, 3, 2<<20); err != nil {
		t.Fatal(err)
	}
	if info, err := dst.Stat(); err != nil || info.Size() != 2<<20 {
		t.Fatalf("%v, %v", info.Size(), err)
	}
	if err := copyThroughMemory(dst, src, src.Size()-1, 2); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("more was copied than there is: %v", err)
	}
}
