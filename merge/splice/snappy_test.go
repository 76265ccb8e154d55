package splice

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/s2"
)

// words makes bytes that compress about as text does.
func words(r *rand.Rand, n int) []byte {
	var out []byte
	for len(out) < n {
		if r.IntN(10) == 0 {
			out = append(out, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()))
		} else {
			out = fmt.Appendf(out, "%d quickly final %d;", r.IntN(50), r.IntN(1000))
		}
	}
	return out[:n]
}

// cutUp draws splices of a body and makes the body that they lead to.
func cutUp(r *rand.Rand, old []byte, places int) (body []byte, list []splice) {
	at := 0
	for range places {
		from := at + r.IntN(2*len(old)/places+1)
		if r.IntN(20) == 0 {
			from = min(from+65536-from%65536, len(old)) // where a piece begins
		}
		to := from + r.IntN(50)*r.IntN(2)
		if r.IntN(30) == 0 {
			to = from + r.IntN(100_000)
		}
		if to > len(old) {
			break
		}
		body = append(body, old[at:from]...)
		begin := len(body)
		body = append(body, words(r, r.IntN(60)*r.IntN(2))...)
		list = append(list, splice{from, to, begin, len(body)})
		at = to
	}
	return append(body, old[at:]...), list
}

// TestSnappySplicer splices blocks of encoders that forget every 64 KiB and of one that does not, over and over.
func TestSnappySplicer(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var s snappySplicer
	for name, encode := range map[string]func(dst, src []byte) []byte{"reference": snappy.Encode, "s2": s2.EncodeSnappy} {
		for round := range 30 {
			body := words(r, r.IntN(700_000))
			block := encode(nil, body)
			for range 10 {
				next, list := cutUp(r, body, 1+r.IntN(12))
				packed, err := s.compress(block, len(body), next, list)
				if err != nil || packed == nil {
					t.Fatalf("%s, round %d: %v", name, round, err)
				}
				got, err := snappy.Decode(nil, packed)
				if err != nil || !bytes.Equal(got, next) {
					t.Fatalf("%s, round %d: %d bytes decode to %d others: %v", name, round, len(next), len(got), err)
				}
				if whole := len(snappy.Encode(nil, next)); len(packed) > whole+whole/4+1000 {
					t.Errorf("%s: %d bytes, %d when compressed whole", name, len(packed), whole)
				}
				body, block = next, bytes.Clone(packed)
			}
		}
	}
}

// TestSnappyPieces: blocks fall into pieces at every 64 KiB, and damaged ones are refused.
func TestSnappyPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	body := words(r, 300_000)
	block := snappy.Encode(nil, body)
	cuts, ok := snappyCuts(nil, block, len(body))
	if !ok || len(cuts) < 6 {
		t.Fatalf("%d pieces", len(cuts)-1)
	}
	for i := range cuts[1:] {
		a, b := cuts[i], cuts[i+1]
		alone := binary.AppendUvarint(nil, uint64(b.plain-a.plain))
		got, err := snappy.Decode(nil, append(alone, block[a.packed:b.packed]...))
		if err != nil || !bytes.Equal(got, body[a.plain:b.plain]) {
			t.Fatalf("piece %d of %d bytes does not stand alone: %v", i, b.plain-a.plain, err)
		}
	}
	for range 2000 {
		bad := bytes.Clone(block)
		bad[r.IntN(len(bad))] ^= byte(1 << r.IntN(8))
		plain, err := snappy.Decode(nil, bad)
		if _, ok := snappyCuts(nil, bad, len(body)); ok != (err == nil && len(plain) == len(body)) {
			t.Fatalf("taken for a block: %t; decoded: %v", ok, err)
		}
	}
	for n := range 200 {
		if _, ok := snappyCuts(nil, block[:n], len(body)); ok {
			t.Fatalf("%d of %d bytes are taken for a block", n, len(block))
		}
	}
}

// TestSnappyOfAnyOperations: blocks of any operations, with copies that reach back as far as the format lets them.
func TestSnappyOfAnyOperations(t *testing.T) {
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
