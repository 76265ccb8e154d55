package merge

import (
	"bytes"
	"testing"
)

func TestShortest(t *testing.T) {
	for _, c := range [][2][]byte{
		{{}, {}}, {{0}, {}}, {{0, 0}, {}}, {{5}, {5}}, {{0, 5}, {5}}, {{0, 0x80}, {0, 0x80}}, {{0xFF}, {0xFF}}, {{0xFF, 0xFF}, {0xFF}},
		{{0xFF, 0x80}, {0x80}}, {{0xFF, 0x7F}, {0xFF, 0x7F}}, {{0, 0, 1, 0}, {1, 0}},
	} {
		if got := shortest(c[0]); !bytes.Equal(got, c[1]) {
			t.Errorf("%x: %x, want %x", c[0], got, c[1])
		}
	}
}
