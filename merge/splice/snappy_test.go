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
