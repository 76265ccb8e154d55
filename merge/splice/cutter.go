package splice

import (
	"encoding/binary"
	"slices"

	"github.com/hupsert/hupsert/merge/column"
)

// cutter takes values out of a page's and puts others in, moving forward: values of a fixed width, byte arrays behind their
// lengths, or places in a dictionary. What lies between two cuts is copied as it is.
type cutter struct {
	width int
	src   []byte
	out   []byte
	// of a page of the dictionary
	dict   *column.Vector
	from   []int32
	places []int32

	at   int // the value that is looked at
	off  int // where it begins in src
	done int // src up to here, or so many places, are in out or left out

	splices []splice // where out differs from src
}

// open begins with values as PLAIN has them, bools as bytes; width 0 is byte arrays.
func (c *cutter) open(width int, values []byte) {
	*c = cutter{width: width, src: values, out: slices.Grow(c.out[:0], len(values)+64), from: c.from, places: c.places, splices: c.splices[:0]}
}

// openIndices begins with places in a dictionary.
func (c *cutter) openIndices(dict *column.Vector, places []int32) {
	*c = cutter{dict: dict, from: places, places: slices.Grow(c.places[:0], len(places)), out: c.out[:0], splices: c.splices[:0]}
}

// seek moves forward to a value, or behind the last.
func (c *cutter) seek(to int) error {
	switch {
	case c.dict != nil:
		c.at = to
	case c.width > 0:
		c.at, c.off = to, to*c.width
	default:
		for ; c.at < to; c.at++ {
			n, err := c.length()
			if err != nil {
				return err
			}
			c.off += 4 + n
		}
		if c.off < len(c.src) {
			_, err := c.length()
			return err
		}
	}
	return nil
}

// length is that of the byte array that is looked at.
func (c *cutter) length() (int, error) {
	if len(c.src)-c.off < 4 {
		return 0, corruptf("the body ends in the length of a byte array")
	}
	n := int(binary.LittleEndian.Uint32(c.src[c.off:]))
	if n > len(c.src)-c.off-4 {
		return 0, corruptf("byte array of %d bytes passes the end", n)
	}
	return n, nil
}

// value is the value that is looked at; nil behind the last.
func (c *cutter) value() []byte {
	switch {
	case c.dict != nil:
		if c.at < len(c.from) {
			return c.dict.At(int(c.from[c.at]))
		}
	case c.off >= len(c.src):
	case c.width > 0:
		return c.src[c.off : c.off+c.width]
	default:
		if n, err := c.length(); err == nil {
			return c.src[c.off+4 : c.off+4+n]
		}
	}
	return nil
}

// keep copies what lies before the value that is looked at.
func (c *cutter) keep() {
	if c.dict != nil {
		c.places = append(c.places, c.from[c.done:c.at]...)
		c.done = c.at
		return
	}
	c.out = append(c.out, c.src[c.done:c.off]...)
	c.done = c.off
}

// drop takes the value out, and looks at the next.
func (c *cutter) drop() {
	c.keep()
	switch {
	case c.dict != nil:
	case c.width > 0:
		c.off += c.width
	default:
		c.off += 4 + len(c.value())
	}
	c.at++
	if c.dict != nil {
		c.done = c.at
		return
	}
	c.splices = append(c.splices, splice{c.done, c.off, len(c.out), len(c.out)})
	c.done = c.off
}

// put puts a value in, by its place where there is a dictionary.
func (c *cutter) put(v []byte, place int32) {
	c.keep()
	if c.dict != nil {
		c.places = append(c.places, place)
		return
	}
	if n := len(c.splices); n == 0 || c.splices[n-1].oldTo != c.off || c.splices[n-1].newTo != len(c.out) {
		c.splices = append(c.splices, splice{c.off, c.off, len(c.out), len(c.out)})
	}
	c.out = appendPlainValue(c.out, c.width, v)
	c.splices[len(c.splices)-1].newTo = len(c.out)
}

// finish copies the values that are left, of n in all.
func (c *cutter) finish(n int) error {
	if err := c.seek(n); err != nil {
		return err
	}
	if c.dict == nil && c.off != len(c.src) {
		return corruptf("%d bytes are left behind the last value", len(c.src)-c.off)
	}
	c.keep()
	return nil
}
