package claims

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
)

type line struct {
	ID    int64    `parquet:"id,delta"`
	Small uint32   `parquet:"small,optional,dict"`
	Name  string   `parquet:"name,optional,dict"`
	Plain *string  `parquet:"plain,optional"`
	Ratio float64  `parquet:"ratio"`
	Flag  bool     `parquet:"flag"`
	Tags  []string `parquet:"tags,list"`
}

// write has parquet-go write rows with all that it says of them.
func write(t *testing.T, version int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[line](&buf, parquet.DataPageVersion(version), parquet.PageBufferSize(300), parquet.DataPageStatistics(true),
		parquet.BloomFilters(parquet.SplitBlockFilter(10, "id"), parquet.SplitBlockFilter(10, "name")),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("id"))))
	for i := range 60 {
		l := line{ID: int64(i) - 100, Small: uint32(i*7919) % 50, Name: fmt.Sprint("name ", i%13), Ratio: float64(i+1) / 7, Flag: i%3 == 0}
		if i%4 > 0 {
			l.Plain = &l.Name
		}
		l.Tags = slices.Repeat([]string{"a"}, i%3)
		if _, err := w.Write([]line{l}); err != nil {
			t.Fatal(err)
		}
		if i == 35 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestFlippedBits: a file as parquet-go writes it has no fault, and with a bit of each byte flipped, one after the other, all of the
// claims are found wrong.
func TestFlippedBits(t *testing.T) {
	found := map[string]bool{}
	for version := 1; version <= 2; version++ {
		file := write(t, version)
		faults, err := Check(file)
		if err != nil || len(faults) > 0 {
			t.Fatalf("as it was written: %v %v", faults, err)
		}
		from := len(file) / 3
		for at := from; at < len(file)-8; at++ {
			damaged := bytes.Clone(file)
			damaged[at] ^= 1 << (at % 6)
			faults, _ := Check(damaged)
			for _, f := range faults {
				found[f.Claim] = true
			}
		}
	}
	for claim := range strings.Lines(wanted) {
		if claim = strings.TrimSpace(claim); !found[claim] {
			t.Errorf("%q is never found wrong", claim)
		}
	}
	if t.Failed() {
		t.Log(slices.Sorted(maps.Keys(found)))
	}
}

const wanted = `boundary_order
bloom filter
column index, max_values
column index, min_values
column index, null_counts
column index, null_pages
encoding_stats
encodings
max_value
min_value
null_count
num_rows of a row group
offset index, first_row_index
offset index, offset
offset index, size
page max_value
page min_value
sorting_columns
total_byte_size
total_compressed_size of a row group
total_uncompressed_size`

// TestOrders: each type's values in their order.
func TestOrders(t *testing.T) {
	le := func(n uint64, width int) []byte { return binary.LittleEndian.AppendUint64(nil, n)[:width] }
	for _, test := range []struct {
		name   string
		e      object
		values [][]byte
	}{
		{"int32", object{1: int64(int32Type)}, [][]byte{le(math.MaxUint32-4, 4), le(0, 4), le(7, 4)}},
		{"uint32", object{1: int64(int32Type), 10: object{10: object{1: int64(32), 2: false}}}, [][]byte{le(0, 4), le(7, 4), le(math.MaxUint32-4, 4)}},
		{"uint32 of old", object{1: int64(int32Type), 6: int64(deprecated.Uint32)}, [][]byte{le(0, 4), le(7, 4), le(math.MaxUint32-4, 4)}},
		{"int64", object{1: int64(int64Type)}, [][]byte{le(math.MaxUint64, 8), le(0, 8), le(1<<40, 8)}},
		{"double", object{1: int64(double)}, [][]byte{le(math.Float64bits(-2), 8), le(math.Float64bits(0), 8), le(math.Float64bits(1e300), 8)}},
		{"half", object{1: int64(fixed), 2: int64(2), 10: object{15: object{}}}, [][]byte{le(0xFC00, 2), le(0xC000, 2), le(0x8001, 2), le(1, 2), le(0x3C00, 2), le(0x7C00, 2)}},
		{"decimal", object{1: int64(byteArray), 6: int64(deprecated.Decimal)}, [][]byte{{0xFF, 0x00}, {0x80}, {0xFF}, {0}, {0, 1}, {2}, {1, 0}}},
		{"text", object{1: int64(byteArray)}, [][]byte{{}, {1}, {1, 0}, {0xFF}}},
	} {
		l := newLeaf(test.e, test.name, 0, 0)
		for i := range test.values {
			for j := range test.values {
				if got, want := l.compare(test.values[i], test.values[j]), min(1, max(-1, i-j)); got != want {
					t.Errorf("%s: %x against %x is %d, want %d", test.name, test.values[i], test.values[j], got, want)
				}
			}
		}
	}
	for _, e := range []object{{1: int64(int96)}, {1: int64(fixed), 2: int64(12), 6: int64(deprecated.Interval)}} {
		if l := newLeaf(e, "", 0, 0); l.compare != nil {
			t.Errorf("%v has an order", e)
		}
	}
	if h := newLeaf(object{1: int64(fixed), 10: object{15: object{}}}, "", 0, 0); !h.nan(le(0x7E00, 2)) || h.nan(le(0x7C00, 2)) {
		t.Error("NaN of 16 bits")
	}
}

func key(n byte) (k [32]byte) {
	k[0] = n
	return k
}

// TestBeyond: what others say wrongly too is left out, by column and claim, and by chunk where it is of pages.
func TestBeyond(t *testing.T) {
	a, b, c := Fault{"x", "min_value", "1", key(1)}, Fault{"x", "max_value", "2", key(1)}, Fault{"y", "min_value", "3", key(2)}
	if got := Beyond([]Fault{a, b, c}, []Fault{{"x", "min_value", "another", key(3)}}); !slices.Equal(got, []Fault{b, c}) {
		t.Errorf("%v", got)
	}
	copied, rewritten := Fault{"x", "encodings", "1", key(1)}, Fault{"x", "encodings", "1", key(2)}
	if got := Beyond([]Fault{copied, rewritten}, []Fault{{"x", "encodings", "2", key(1)}}); !slices.Equal(got, []Fault{rewritten}) {
		t.Errorf("%v", got)
	}
}
