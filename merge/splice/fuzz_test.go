package splice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/format"
)

// addCorpus seeds a target with what take finds in the files of the corpus, if it is there, and in
// files of parquet-go.
func addCorpus(f *testing.F, take func(data []byte)) {
	for _, file := range writtenFiles(f, 120) {
		take(file.data)
	}
	for _, name := range corpusIfThere("data/*.parquet") {
		if strings.HasPrefix(filepath.Base(name), "large_string_map") {
			continue // gigabytes, once decompressed
		}
		if data, err := os.ReadFile(name); err == nil && len(data) < 1<<20 {
			take(data)
		}
	}
}

// FuzzOpen reads whatever claims to be a file with the given end.
func FuzzOpen(f *testing.F) {
	addCorpus(f, func(data []byte) {
		n := min(len(data), int(binary.LittleEndian.Uint32(data[len(data)-8:]))+8)
		f.Add(data[:len(data)-n], data[len(data)-n:])
	})
	f.Fuzz(func(t *testing.T, pages, end []byte) {
		data := append(bytes.Clone(pages), end...)
		file, err := openFile(data, "fuzz")
		if err != nil {
			return
		}
		if out := file.footer.append(nil); len(out) > 0 {
			again, _, err := parseThrift(out)
			if err != nil {
				t.Fatalf("footer written again is not read: %v", err)
			}
			if !bytes.Equal(again.append(nil), out) {
				t.Fatal("footer changes when it is written again")
			}
		}
		for _, group := range file.groups {
			for _, c := range group.Columns {
				if c.NumValues > 1<<20 {
					return // a run of a few bytes takes long to write out
				}
			}
		}
		_ = readAll(file) // any error will do
	})
}

// FuzzPageHeader compares the page header parser with the Thrift tree.
func FuzzPageHeader(f *testing.F) {
	addCorpus(f, func(data []byte) {
		file, err := openFile(data, "seed")
		if err != nil {
			return
		}
		for _, group := range file.groups {
			for _, c := range group.Columns {
				f.Add(data[c.Offset:][:min(100, c.CompressedSize)])
			}
		}
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := parsePageHeader(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, errShortHeader) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		tree, n, err := parseThrift(data)
		if err != nil {
			return // the tree checks what the header leaves out
		}
		if n != h.size || int(tree.int(3, -1)) != h.compressed && unique(&tree) {
			t.Fatalf("header of %d bytes, page of %d; the tree has %d and %d", h.size, h.compressed, n, tree.int(3, -1))
		}
		part := map[format.PageType]int16{format.DataPage: 5, format.DictionaryPage: 7}[h.kind]
		if of := tree.field(part); part != 0 && unique(&tree) && unique(of) {
			if of.int(1, -1) != int64(h.values) || of.int(2, -1) != int64(h.encoding) || of.field(2).kind != compactI32 {
				t.Fatalf("%d values in %s; the tree has %d in %d", h.values, h.encoding, of.int(1, -1), of.int(2, -1))
			}
		}
	})
}

// unique reports whether no field stands twice: then the header takes the last, the tree the first.
func unique(v *tValue) bool {
	seen := map[int16]bool{}
	for _, f := range v.kids {
		if seen[f.id] {
			return false
		}
		seen[f.id] = true
	}
	return true
}
