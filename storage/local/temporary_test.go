package local

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"
)

// TestTemporary: a file that can be read and written, of which the folder shows nothing.
func TestTemporary(t *testing.T) {
	for name, open := range map[string]func(string) (*os.File, error){"": Temporary, "by a name that is removed": removed} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f, err := open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("rows"), 1<<20); err != nil {
				t.Fatal(err)
			}
			var p [4]byte
			if _, err := f.ReadAt(p[:], 1<<20); err != nil || string(p[:]) != "rows" {
				t.Errorf("%q, %v", p, err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("%v, %v", left, err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if _, err := open(dir + "/not there"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("no folder: %v", err)
			}
			if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := open(dir + "/file"); err == nil {
				t.Error("a file is no folder")
			}
		})
	}
}

// TestTemporaryOfTheDead: what a process had open when it was killed is gone.
func TestTemporaryOfTheDead(t *testing.T) {
	if dir := os.Getenv("TEMPORARY_IN"); dir != "" {
		f, err := Temporary(dir)
		if err == nil {
			_, err = f.Write(make([]byte, 1<<20))
		}
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("written\n")
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=TestTemporaryOfTheDead")
	cmd.Env = append(os.Environ(), "TEMPORARY_IN="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "written\n" {
		t.Errorf("%q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
