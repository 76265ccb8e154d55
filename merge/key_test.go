package merge

import (
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// TestInt96Keys reads INT96 timestamps up to the ends of what the table's unit holds, and none beyond.
func TestInt96Keys(t *testing.T) {
	leaf := &column.Leaf{Type: format.Int96, Width: 12}
	for _, unit := range []arrow.TimeUnit{arrow.Nanosecond, arrow.Microsecond, arrow.Millisecond, arrow.Second} {
		read, to := readTimestamp(leaf, unit), int64(unit.Multiplier())
		for _, day := range []int64{-2440588, -106753, -106752, -106751, -1, 0, 1, 53376, 106751, 106752, 1 << 30} {
			for _, nanos := range []int64{0, 1, 763145224192, 763145224193, 85636854775807, 85636854775808, 86399e9, 86400e9, 86401e9} {
				v := binary.LittleEndian.AppendUint64(nil, uint64(nanos))
				v = binary.LittleEndian.AppendUint32(v, uint32(day+2440588))
				want := new(big.Int).Mul(big.NewInt(day), big.NewInt(86400e9))
				want.Add(want, big.NewInt(nanos)).Div(want, big.NewInt(to))
				fits := want.IsInt64() && nanos%to == 0 && nanos <= 86400e9
				got, err := read(v)
				if fits != (err == nil) || fits && got != want.Int64() {
					t.Errorf("day %d and %d ns in %v: got %d, %v, want %v", day, nanos, unit, got, err, want)
				}
			}
		}
	}
}
