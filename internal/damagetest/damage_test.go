package damagetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"

	"github.com/hupsert/hupsert/merge/splice"
)

// Cuts and flips are how often each good file is damaged in either way.
const (
	cuts  = 16
	flips = 32
)

// damage is one way to spoil a file. The zero value leaves it as it is.
type damage struct {
	Kind string // "": none
	At   int64  // the byte the file is cut at; the bit that is flipped
}

func (d damage) String() string {
	switch d.Kind {
	case cut:
		return fmt.Sprintf("cut at byte %d", d.At)
	case flip:
		return fmt.Sprintf("bit %d of byte %d flipped", d.At%8, d.At/8)
	}
	return "as it is"
}

// The kinds of damage.
const (
	cut  = "cut"
	flip = "flip"
)

// apply returns the file damaged; data stays as it is.
func (d damage) apply(data []byte) []byte {
	switch d.Kind {
	case cut:
		return data[:d.At]
	case flip:
		data = append([]byte(nil), data...)
		data[d.At/8] ^= 1 << (d.At % 8)
	}
	return data
}

// damages draws the cuts and flips of a file: cuts all over it, a third of the flips in the footer, a quarter in the first
// bytes of column chunks, where the page headers are, the others anywhere. A small file would hardly be hit in its pages, a
// large one hardly outside of them.
func damages(name string, data []byte, seed uint64) []damage {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name))
	r := rand.New(rand.NewPCG(seed, hash.Sum64()))
	var list []damage
	for i := range int64(cuts) {
		size := int64(len(data))
		list = append(list, damage{cut, i*size/cuts + r.Int64N(max(size/cuts, 1))})
	}
	within := func(from, to int64) damage { return damage{flip, 8*from + r.Int64N(8*(to-from))} }
	size := int64(len(data))
	footer := max(0, size-8-int64(binary.LittleEndian.Uint32(data[size-8:])))
	heads := chunkHeads(data)
	for i := range flips {
		switch {
		case i < flips/3:
			list = append(list, within(footer, size))
		case i < flips/3+flips/4 && len(heads) > 0:
			at := heads[r.IntN(len(heads))]
			list = append(list, within(at, min(at+headBytes, size)))
		default:
			list = append(list, within(0, size))
		}
	}
	return list
}

// headBytes are about those of a page header and the first levels behind it.
const headBytes = 40

// chunkHeads are where column chunks begin.
func chunkHeads(data []byte) (at []int64) {
	f, err := splice.Open(bytes.NewReader(data), int64(len(data)), "good")
	if err != nil {
		return nil
	}
	for g := range f.NumRowGroups() {
		for _, c := range f.RowGroup(g).Columns {
			if c.CompressedSize > 0 {
				at = append(at, c.Offset)
			}
		}
	}
	return at
}

// inChunks damages the bytes of column chunks only: pages and their headers.
func inChunks(data []byte, n int, seed uint64) (list []damage) {
	f, err := splice.Open(bytes.NewReader(data), int64(len(data)), "good")
	if err != nil {
		return nil
	}
	var chunks []splice.Chunk
	for g := range f.NumRowGroups() {
		chunks = append(chunks, f.RowGroup(g).Columns...)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	for range n {
		c := chunks[r.IntN(len(chunks))]
		list = append(list, damage{flip, 8*c.Offset + r.Int64N(8*c.CompressedSize)})
	}
	return list
}

// write damages a file into another.
func (d damage) write(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, d.apply(data), 0o644)
}
