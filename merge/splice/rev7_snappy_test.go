package splice

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/golang/snappy"
)

// Blocks of any operations, with copies that reach back as far as the format lets them.
func TestRev7SnappyAnyOperations(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 3))
	var s snappySplicer
	spliced := 0
	for range 300 {
		var ops []byte
		plain := 0
		far := r.IntN(3)
		for plain < 130<<10 {
			if plain == 0 || r.IntN(3) == 0 {
				n := 1 + r.IntN([]int{60, 300, 70000}[r.IntN(3)])
				switch {
				case n <= 60 && r.IntN(2) == 0:
					ops = append(ops, byte(n-1)<<2)
				case n <= 256 && r.IntN(2) == 0:
					ops = append(ops, 60<<2, byte(n-1))
				case n <= 65536 && r.IntN(2) == 0:
					ops = append(ops, 61<<2, byte(n-1), byte((n-1)>>8))
				case r.IntN(2) == 0:
					ops = append(ops, 62<<2, byte(n-1), byte((n-1)>>8), byte((n-1)>>16))
				default:
					ops = append(ops, 63<<2, byte(n-1), byte((n-1)>>8), byte((n-1)>>16), 0)
				}
				for range n {
					ops = append(ops, byte(r.Uint32()))
				}
				plain += n
				continue
			}
			most := plain
			if far == 0 {
				most = min(plain, 500)
			} else if far == 1 && r.IntN(50) > 0 {
				most = min(plain, 3000)
			}
			back := 1 + r.IntN(most)
			switch k := r.IntN(3); {
			case k == 0 && back < 2048:
				n := 4 + r.IntN(8)
				ops = append(ops, byte(back>>8)<<5|byte(n-4)<<2|1, byte(back))
				plain += n
			case k == 1 && back < 65536:
				n := 1 + r.IntN(64)
				ops = append(ops, byte(n-1)<<2|2, byte(back), byte(back>>8))
				plain += n
			default:
				n := 1 + r.IntN(64)
				ops = binary.LittleEndian.AppendUint32(append(ops, byte(n-1)<<2|3), uint32(back))
				plain += n
			}
		}
		block := append(binary.AppendUvarint(nil, uint64(plain)), ops...)
		body, err := snappy.Decode(nil, block)
		if err != nil {
			t.Fatal(err)
		}
		// splices
		var list []splice
		var next []byte
		at := 0
		cuts, _ := snappyCuts(nil, block, plain)
		for k := r.IntN(5); k >= 0 && at < plain; k-- {
			from := at + r.IntN(plain-at)
			if r.IntN(2) == 0 { // at a border
				if c := cuts[r.IntN(len(cuts))].plain; c >= at {
					from = c
				}
			}
			to := min(plain, from+[]int{0, 0, 8, 30, 20000}[r.IntN(5)])
			if r.IntN(4) == 0 {
				for _, c := range cuts {
					if c.plain > from {
						to = c.plain
						break
					}
				}
			}
			next = append(next, body[at:from]...)
			p := splice{from, to, len(next), len(next)}
			for range r.IntN(40) {
				next = append(next, byte(r.Uint32()))
			}
			p.newTo = len(next)
			list = append(list, p)
			at = to
		}
		next = append(next, body[at:]...)
		out, err := s.compress(block, plain, next, list)
		if err != nil {
			t.Fatal(err)
		}
		if out == nil {
			t.Fatal("no block")
		}
		if len(s.cuts) > 2 {
			spliced++
		}
		got, err := snappy.Decode(nil, out)
		if err != nil || !bytes.Equal(got, next) {
			t.Fatalf("differs: %v, %v", err, list)
		}
	}
	t.Log(spliced)
}
