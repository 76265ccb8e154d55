package splice

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/plain"
	"github.com/parquet-go/parquet-go/encoding/rle"
)

// runs makes values below limit in which runs of all lengths alternate with noise.
func runs(r *rand.Rand, n, limit int) []int32 {
	values := make([]int32, 0, n)
	for len(values) < n {
		v := int32(r.IntN(limit))
		length := 1
		if r.IntN(4) == 0 {
			length = 1 + r.IntN(70)
		}
		for ; length > 0 && len(values) < n; length-- {
			values = append(values, v)
		}
	}
	return values
}

func TestIndicesAgainstIndependentDecoder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, limit := range []int{1, 2, 3, 5, 17, 255, 256, 257, 4000, 70000, 1 << 20, 1 << 29} {
		for _, n := range []int{1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 503, 504, 505, 3000} {
			values := runs(r, n, limit)
			encoded := appendIndices(nil, values, limit)
			width := int(encoded[0])
			if want := max(bits.Len(uint(limit-1)), 1); width != want {
				t.Fatalf("limit %d: width %d, want %d", limit, width, want)
			}
			got, err := (&rle.Encoding{BitWidth: width}).DecodeInt32(nil, encoded[1:])
			if err != nil {
				t.Fatalf("limit %d, %d values: %v", limit, n, err)
			}
			if len(got) < n || !slices.Equal(got[:n], values) {
				t.Fatalf("limit %d, %d values: decoded differently", limit, n)
			}
		}
	}
}

func TestLevelsAgainstIndependentDecoder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for limit := 1; limit <= 9; limit++ {
		for n := 1; n < 300; n++ {
			var levels []uint8
			for _, v := range runs(r, n, limit+1) {
				levels = append(levels, uint8(v))
			}
			encoded := appendLevels(nil, levels, limit)
			got, err := (&rle.Encoding{BitWidth: bits.Len(uint(limit))}).DecodeLevels(nil, encoded)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) < n || !slices.Equal(got[:n], levels) {
				t.Fatalf("limit %d, %d levels: decoded differently", limit, n)
			}
		}
	}
}

func TestLevelsTakeRuns(t *testing.T) {
	if got := len(appendLevels(nil, make([]uint8, 20000), 1)); got > 4 {
		t.Errorf("20,000 equal levels take %d bytes", got)
	}
	alternating := make([]uint8, 20000)
	for i := range alternating {
		alternating[i] = uint8(i & 1)
	}
	if got := len(appendLevels(nil, alternating, 1)); got > 2504 {
		t.Errorf("20,000 alternating levels take %d bytes", got)
	}
}

func TestBitsAgainstIndependentEncoder(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 100 {
		bools := make([]byte, n)
		for i := range bools {
			bools[i] = byte(r.IntN(2))
		}
		got := appendBits(nil, bools)
		var want []byte
		for i, b := range bools {
			want = plain.AppendBoolean(want, i, b != 0)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d bools: %x, want %x", n, got, want)
		}
	}
}
