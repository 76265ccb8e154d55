package splice

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// slot is a slot of a column as tests compare it; val is nil without a value.
type slot struct {
	def, rep uint8
	val      []byte
}

func (s slot) String() string { return fmt.Sprintf("d%d r%d %q", s.def, s.rep, s.val) }

func (s slot) equal(t slot) bool {
	return s.def == t.def && s.rep == t.rep && (s.val == nil) == (t.val == nil) && bytes.Equal(s.val, t.val)
}

// appendSlots copies the slots of a column.
func appendSlots(list []slot, c *column.Column) []slot {
	for i := range c.Slots {
		s := slot{def: c.MaxDef}
		if c.Def != nil {
			s.def = c.Def[i]
		}
		if c.Rep != nil {
			s.rep = c.Rep[i]
		}
		if v := c.Value(i); v != nil {
			s.val = append([]byte{}, v...)
		}
		list = append(list, s)
	}
	return list
}

// drain reads a page reader to its end. Pages must follow each other.
func drain(p *PageReader, each func(first int64, n int, c *column.Column)) error {
	defer p.Close()
	var c column.Column
	for {
		first, n, err := p.Next(context.Background(), &c)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		each(first, n, &c)
	}
}

func readSlots(f *File, rg, col int) (list []slot, err error) {
	err = drain(f.Pages(rg, col, nil), func(_ int64, _ int, c *column.Column) {
		list = appendSlots(list, c)
	})
	return list, err
}

// readAll decodes everything in a file and throws it away.
func readAll(f *File) error {
	for rg := range f.NumRowGroups() {
		for col := range f.Schema().Leaves {
			if _, err := f.PageIndex(rg, col); err != nil {
				return err
			}
			if err := drain(f.Pages(rg, col, nil), func(int64, int, *column.Column) {}); err != nil {
				return err
			}
		}
	}
	return nil
}

func openFile(data []byte, name string) (*File, error) {
	return Open(bytes.NewReader(data), int64(len(data)), name)
}

// plainBytes is a parquet-go value as PLAIN holds it, without length.
func plainBytes(v parquet.Value) []byte {
	if v.IsNull() {
		return nil
	}
	switch v.Kind() {
	case parquet.Boolean:
		if v.Boolean() {
			return []byte{1}
		}
		return []byte{0}
	case parquet.Int32, parquet.Float:
		return binary.LittleEndian.AppendUint32(nil, v.Uint32())
	case parquet.Int64, parquet.Double:
		return binary.LittleEndian.AppendUint64(nil, v.Uint64())
	case parquet.Int96:
		i := v.Int96()
		b := binary.LittleEndian.AppendUint32(nil, i[0])
		return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, i[1]), i[2])
	}
	return append([]byte{}, v.ByteArray()...)
}

// theirSlots reads a column chunk by parquet-go.
func theirSlots(chunk parquet.ColumnChunk) (list []slot, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("parquet-go: %v", r)
		}
	}()
	pages := chunk.Pages()
	defer pages.Close()
	buf := make([]parquet.Value, 1000)
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		values := page.Values()
		for {
			n, err := values.ReadValues(buf)
			for _, v := range buf[:n] {
				list = append(list, slot{uint8(v.DefinitionLevel()), uint8(v.RepetitionLevel()), plainBytes(v)})
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
		}
		parquet.Release(page)
	}
}

// compareWithParquetGo compares every chunk that parquet-go can read, and returns how many it can.
func compareWithParquetGo(t *testing.T, data []byte, f *File) (compared int) {
	t.Helper()
	theirs, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return 0
	}
	for rg, group := range theirs.RowGroups() {
		for col, chunk := range group.ColumnChunks() {
			want, err := theirSlots(chunk)
			if err != nil {
				t.Logf("row group %d, column %q: parquet-go: %v", rg, f.Schema().Leaves[col].Path, err)
				continue
			}
			got, err := readSlots(f, rg, col)
			if err != nil {
				t.Errorf("%v", err)
				continue
			}
			if len(got) != len(want) {
				t.Errorf("row group %d, column %q: %d slots, parquet-go reads %d", rg, f.Schema().Leaves[col].Path, len(got), len(want))
				continue
			}
			compared++
			for i := range got {
				if !got[i].equal(want[i]) {
					t.Errorf("row group %d, column %q, slot %d: %v, parquet-go reads %v", rg, f.Schema().Leaves[col].Path, i, got[i], want[i])
					break
				}
			}
		}
	}
	return compared
}

func TestCorpusGood(t *testing.T) {
	corrupt := map[string]bool{ // of wrong checksums on purpose
		"datapage_v1-corrupt-checksum.parquet":           true,
		"rle-dict-uncompressed-corrupt-checksum.parquet": true,
	}
	for _, pattern := range []string{"data/*.parquet", "data/geospatial/*.parquet"} {
		for _, name := range corpus(t, pattern) {
			t.Run(filepath.Base(name), func(t *testing.T) {
				data, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				f, err := openFile(data, filepath.Base(name))
				if err != nil {
					t.Fatal(err)
				}
				err = readAll(f)
				if strings.HasPrefix(filepath.Base(name), "large_string_map") {
					if !errors.Is(err, ErrUnsupported) { // 1.6 KB that stand for more than 1 GiB
						t.Fatalf("got %v, want ErrUnsupported", err)
					}
					return
				}
				if corrupt[filepath.Base(name)] {
					if !errors.Is(err, ErrCorrupt) {
						t.Fatalf("got %v, want ErrCorrupt", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				// parquet-go 0.32 reads empty strings here, and warns of it.
				if filepath.Base(name) == "lz4_raw_compressed_larger.parquet" {
					return
				}
				t.Logf("%d rows, %d chunks compared", f.NumRows(), compareWithParquetGo(t, data, f))
			})
		}
	}
}

func TestCorpusBad(t *testing.T) {
	for _, name := range corpus(t, "bad_data/*.parquet") {
		if filepath.Base(name) == "ARROW-GH-43605.parquet" {
			continue // indices of no bits: legal, if a trap; TestZeroWidthIndices
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f, err := openFile(data, filepath.Base(name))
			if err == nil {
				err = readAll(f)
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
			t.Log(err)
		})
	}
}

func TestZeroWidthIndices(t *testing.T) {
	data, err := os.ReadFile(corpus(t, "bad_data/ARROW-GH-43605.parquet")[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := openFile(data, "zero")
	if err != nil {
		t.Fatal(err)
	}
	if compareWithParquetGo(t, data, f) == 0 {
		t.Error("nothing was compared")
	}
}

func TestCorpusExpectations(t *testing.T) {
	for _, name := range corpus(t, "data/*_expect.csv") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer text.Close()
			records, err := csv.NewReader(text).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(strings.TrimSuffix(name, "_expect.csv") + ".parquet")
			if err != nil {
				t.Fatal(err)
			}
			f, err := openFile(data, filepath.Base(name))
			if err != nil {
				t.Fatal(err)
			}
			compareWithText(t, f, records)
		})
	}
}

// compareWithText compares the only row group of a flat file with text, in which NULL is empty.
func compareWithText(t *testing.T, f *File, records [][]string) {
	t.Helper()
	for col, name := range records[0] {
		at := slices.IndexFunc(f.Schema().Leaves, func(l *column.Leaf) bool {
			return strings.Trim(l.Path[0], " :") == strings.TrimSpace(name) // one file's names end in colons
		})
		if at < 0 {
			t.Errorf("no column %q", name)
			continue
		}
		list, err := readSlots(f, 0, at)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(list) != len(records)-1 {
			t.Errorf("column %q: %d rows, want %d", name, len(list), len(records)-1)
			continue
		}
		for row, s := range list {
			got := string(s.val)
			switch {
			case s.val == nil:
			case f.Schema().Leaves[at].Type == format.Int64:
				got = strconv.FormatInt(int64(binary.LittleEndian.Uint64(s.val)), 10)
			case f.Schema().Leaves[at].Type == format.Int32:
				got = strconv.FormatInt(int64(int32(binary.LittleEndian.Uint32(s.val))), 10)
			}
			if want := records[row+1][col]; got != want {
				t.Errorf("column %q, row %d: %q, want %q", name, row, got, want)
				break
			}
		}
	}
}

func TestCorpusEncrypted(t *testing.T) {
	for _, pattern := range []string{"data/*.encrypted", "data/aes256/*.encrypted"} {
		for _, name := range corpus(t, pattern) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := openFile(data, filepath.Base(name)); !errors.Is(err, ErrEncrypted) {
				t.Errorf("%s: got %v, want ErrEncrypted", filepath.Base(name), err)
			}
		}
	}
}
