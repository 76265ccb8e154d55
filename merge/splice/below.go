package splice

import (
	"encoding/binary"
)

// hybridBelow reports whether decodeHybrid finds n values in src, all below limit. It takes a fraction of the time, since values that
// lie packed are compared as they lie: several at once. False may also say that it can't tell.
func hybridBelow(src []byte, n, width int, limit uint32) bool {
	if width > 28 {
		return false
	}
	for n > 0 {
		header, k := binary.Uvarint(src)
		if k <= 0 || header>>1 == 0 {
			return false
		}
		src = src[k:]
		count := header >> 1
		if header&1 == 0 {
			size := (width + 7) / 8
			if len(src) < size || runValue(src[:size]) >= limit {
				return false
			}
			n, src = n-int(min(count, uint64(n))), src[size:]
			continue
		}
		if width > 0 && count > uint64(len(src)/width) {
			return false // the last group lacks bytes
		}
		values := int(min(count, uint64(n+7)/8) * 8)
		if !packedBelow(src, min(values, n), width, limit) {
			return false
		}
		n, src = n-min(values, n), src[count*uint64(width):]
	}
	return true
}

// runValue is the value of a run.
func runValue(src []byte) (v uint32) {
	for i := len(src) - 1; i >= 0; i-- {
		v = v<<8 | uint32(src[i])
	}
	return v
}

// packedBelow reports whether n bit-packed values, of 28 bits at most, are below limit. Src may go on behind them.
//
// From one load every other value is taken, so that each has its own width of free bits above it. What is added carries into the lowest of these
// where the value is not below the limit.
func packedBelow(src []byte, n, width int, limit uint32) bool {
	if uint64(limit) >= 1<<width {
		return true
	}
	if width == 0 {
		return limit > 0 || n == 0
	}
	w := uint(width)
	even, add, carry := lanes(w, limit)
	over := uint64(0)
	groups := max(0, min(n/8, (len(src)-8)/width)) // 64 bits can be loaded from every byte of them
	switch {
	case width <= 8:
		for i := 0; i < groups*width; i += width {
			a := binary.LittleEndian.Uint64(src[i:])
			over |= (a&even + add) | (a>>(w&63)&even + add)
		}
	case width <= 16:
		half, shift := width/2, 4*(w&1)
		for i := 0; i < groups*width; i += width {
			a, b := binary.LittleEndian.Uint64(src[i:]), binary.LittleEndian.Uint64(src[i+half:])>>(shift&63)
			over |= (a&even + add) | (a>>(w&63)&even + add) | (b&even + add) | (b>>(w&63)&even + add)
		}
	default:
		for i := 0; i < groups*width; i += width {
			for bit := 0; bit < 8*width; bit += 2 * width {
				a := binary.LittleEndian.Uint64(src[i+bit/8:]) >> (bit & 7)
				over |= (a&even + add) | (a>>(w&63)&even + add)
			}
		}
	}
	if over&carry != 0 {
		return false
	}
	var rest [80]int32 // 8 bytes are at most as many groups, of width 1, and one that is not whole
	last := rest[:n-8*groups]
	unpack(last, src[groups*width:], width)
	return largest(last) < limit || len(last) == 0
}

// lanes are masks of every other value of a load, what is added to each, and where that carries to.
func lanes(w uint, limit uint32) (even, add, carry uint64) {
	values := uint(8)
	switch {
	case w > 16:
		values = 2
	case w > 8:
		values = 4
	}
	for at := uint(0); at < values*w; at += 2 * w {
		even |= (1<<w - 1) << at
		add |= (1<<w - uint64(limit)) << at
		carry |= 1 << (at + w)
	}
	return even, add, carry
}
