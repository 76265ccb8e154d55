package binarytest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// row is a row of every table here. The text follows from the rest, so that a row that is neither old nor new
// is seen.
type row struct {
	ID   int64  `parquet:"id"`
	V    int64  `parquet:"v"` // the version of the table, or of the row
	Text string `parquet:"text"`
}

func rowOf(id, v int64) row {
	return row{ID: id, V: v, Text: fmt.Sprintf("row %d of version %d", id, v)}
}

// rowsOf are the rows from one id to another, that one left out, in one version.
func rowsOf(from, to, v int64) (out []row) {
	for id := from; id < to; id++ {
		out = append(out, rowOf(id, v))
	}
	return out
}

// writeFile writes a Parquet file with as many row groups as there are lists of rows.
func writeFile(name string, groups ...[]row) error {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	for _, rows := range groups {
		if _, err := w.Write(rows); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// writeSource writes rows as CSV, each for every one of the days.
func writeSource(name string, rows []row, days ...string) error {
	var b bytes.Buffer
	b.WriteString("id,v,text,dt\n")
	for _, day := range days {
		for _, r := range rows {
			fmt.Fprintf(&b, "%d,%d,%s,%s\n", r.ID, r.V, r.Text, day)
		}
	}
	return os.WriteFile(name, b.Bytes(), 0o644)
}

// readRows reads an open Parquet file with a library that the writer under test has no part in.
func readRows(f *os.File) (out []row, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v", f.Name(), p)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	r := parquet.NewGenericReader[row](file)
	defer r.Close()
	for {
		buf := make([]row, 100)
		n, err := r.Read(buf)
		out = append(out, buf[:n]...)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
}

// readFolder reads all files of a partition, in order of their rows.
func readFolder(dir string) (out []row, err error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		rows, err := readRows(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	sortRows(out)
	return out, nil
}

func sortRows(rows []row) {
	slices.SortFunc(rows, func(a, b row) int { return int(a.ID - b.ID) })
}

// table is the rows of a table by partition.
type table map[string][]row

// readTable reads a table; partitions that are not there are not in it.
func readTable(root string, days ...string) (table, error) {
	out := table{}
	for _, day := range days {
		rows, err := readFolder(filepath.Join(root, "dt="+day))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[day] = rows
	}
	return out, nil
}

func (t table) equal(other table) bool {
	return len(t) == len(other) && t.mixes(other, nil)
}

// mixes reports whether each partition is as in one of two tables.
func (t table) mixes(a, b table) bool {
	for day, rows := range t {
		if !slices.Equal(rows, a[day]) && (b == nil || !slices.Equal(rows, b[day])) {
			return false
		}
	}
	return true
}

func (t table) String() string {
	var b strings.Builder
	for day, rows := range t {
		fmt.Fprintf(&b, "%s: %v\n", day, rows)
	}
	return b.String()
}

// leftovers says what a table's folder and its state hold that does not belong there when no run is under way.
func leftovers(root string) (out []string) {
	state := filepath.Join(filepath.Dir(root), ".hupsert", filepath.Base(root))
	empty := func(dir string, but ...string) {
		list, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			out = append(out, err.Error())
		}
		for _, e := range list {
			if !slices.Contains(but, e.Name()) {
				out = append(out, filepath.Join(dir, e.Name()))
			}
		}
	}
	empty(filepath.Join(state, "staging"))
	empty(filepath.Join(state, "trash"))
	empty(filepath.Join(state, "runs"), "undo", "done")
	empty(filepath.Join(state, "runs", "undo"))
	empty(filepath.Join(state, "locks", "runs"), ".locks")
	empty(filepath.Join(filepath.Dir(root), "tmp"))
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := filepath.Base(path); {
		case err != nil:
			out = append(out, err.Error())
		case path == root, d.IsDir() && strings.HasPrefix(name, "dt="), !d.IsDir() && strings.HasSuffix(name, ".parquet"):
		default:
			out = append(out, path)
		}
		return nil
	})
	return append(out, voidClaims(state)...)
}

// voidClaims are claimed versions whose run is not in the table's book.
func voidClaims(state string) (out []string) {
	claims, _ := filepath.Glob(filepath.Join(state, "claims", "*", "*", "claim.json"))
	for _, claim := range claims {
		text, err := os.ReadFile(claim)
		if err != nil {
			return append(out, err.Error())
		}
		_, rest, _ := strings.Cut(string(text), `"run": "`)
		run, _, _ := strings.Cut(rest, `"`)
		if _, err := os.Stat(filepath.Join(state, "runs", "done", run+".json")); err != nil {
			out = append(out, claim+": "+err.Error())
		}
	}
	return out
}
