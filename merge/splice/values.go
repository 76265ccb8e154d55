package splice

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// Values are decoded densely, as pages hold them, into the memory of the column they go to, and then
// moved apart in place where slots have no value: pages without nulls take no second step.

// decode decodes the page that is loaded.
func (p *PageReader) decode(into *column.Column, mem *levels) error {
	p.loaded = false
	g := &p.page
	into.Reset(p.leaf)
	into.Slots = g.values
	if p.leaf.MaxRep > 0 {
		mem.rep = resize(mem.rep, g.values)
		if err := decodeLevels(mem.rep, g.rep, p.leaf.MaxRep, g.repEncoding); err != nil {
			return fmt.Errorf("repetition levels: %w", err)
		}
		into.Rep = mem.rep[:g.values:g.values]
	}
	present := g.values
	if p.leaf.MaxDef > 0 {
		var err error
		if present, err = p.decodeDefinitions(into, mem); err != nil {
			return fmt.Errorf("definition levels: %w", err)
		}
	}
	if row := p.strays(into); row >= 0 {
		return corruptf("slot %d goes on with a list that is empty or not there", row)
	}
	if err := p.decodeValues(into, present); err != nil {
		return fmt.Errorf("%s values: %w", g.encoding, err)
	}
	return nil
}

// decodeDefinitions returns the number of slots with a value. Levels are left out where all have one.
func (p *PageReader) decodeDefinitions(into *column.Column, mem *levels) (present int, err error) {
	g := &p.page
	n, top := g.values, p.leaf.MaxDef
	if g.defEncoding == format.RLE && allAt(g.def, n, top, levelWidth(top)) {
		return n, nil
	}
	mem.def = resize(mem.def, n)
	if err := decodeLevels(mem.def, g.def, top, g.defEncoding); err != nil {
		return 0, err
	}
	present = bytes.Count(mem.def, []byte{byte(top)})
	if present < n {
		into.Def = mem.def[:n:n]
	}
	return present, nil
}

// strays finds a slot that goes on with a list whose definition level says that it has no element; -1 if there is none.
func (p *PageReader) strays(c *column.Column) int {
	if c.Rep == nil || c.Def == nil || len(p.leaf.RepDefs) != p.leaf.MaxRep {
		return -1
	}
	for i, rep := range c.Rep {
		if rep > 0 && c.Def[i] < p.leaf.RepDefs[rep-1] {
			return i
		}
	}
	return -1
}

// cutLevels splits a data page V1 behind the levels it starts with.
func cutLevels(data []byte, n, maxLevel int, encoding format.Encoding) (levels, rest []byte, err error) {
	if maxLevel == 0 {
		return nil, data, nil
	}
	switch encoding {
	case format.RLE:
		if len(data) < 4 {
			return nil, nil, corruptf("no length")
		}
		size := uint64(binary.LittleEndian.Uint32(data))
		data = data[4:]
		if size > uint64(len(data)) {
			return nil, nil, corruptf("%d bytes in a page with %d", size, len(data))
		}
		return data[:size], data[size:], nil
	case format.BitPacked:
		size := (n*levelWidth(maxLevel) + 7) / 8
		if size > len(data) {
			return nil, nil, corruptf("%d bytes in a page with %d", size, len(data))
		}
		return data[:size], data[size:], nil
	}
	return nil, nil, unsupportedf("encoding %s", encoding)
}

// decodeLevels reads len(dst) levels.
func decodeLevels(dst []uint8, src []byte, maxLevel int, encoding format.Encoding) error {
	width := levelWidth(maxLevel)
	if encoding != format.BitPacked {
		return decodeHybrid(dst, src, width, uint32(maxLevel)+1)
	}
	if len(src) < (len(dst)*width+7)/8 {
		return corruptf("%d bytes for %d levels", len(src), len(dst))
	}
	unpackLegacy(dst, src, width)
	if m := largest(dst); m > uint32(maxLevel) {
		return corruptf("level %d above %d", m, maxLevel)
	}
	return nil
}

// startsRecord reports whether the page that is loaded starts with a new record.
func (p *PageReader) startsRecord() (bool, error) {
	var first [1]uint8
	err := decodeLevels(first[:], p.page.rep, p.leaf.MaxRep, p.page.repEncoding)
	return first[0] == 0, err
}

// decodeValues decodes the values of the slots of which present have one.
func (p *PageReader) decodeValues(into *column.Column, present int) error {
	g := &p.page
	if g.encoding == format.PlainDictionary || g.encoding == format.RLEDictionary {
		return p.decodeIndices(into, present)
	}
	v, leaf, n := &into.Values, p.leaf, into.Slots
	var err error
	switch {
	case present == 0 && (g.encoding != format.Plain || len(g.body) == 0):
		sizeVector(v, n) // whatever the body holds; some writers leave it empty
	case g.encoding == format.Plain:
		err = decodePlain(v, leaf, g.body, n, present)
		if bare, padded := bytes.CutSuffix(g.body, pagePadding[:]); err != nil && padded && p.maker.padsPages() {
			err = decodePlain(v, leaf, bare, n, present)
		}
	case g.encoding == format.RLE && leaf.Type == format.Boolean:
		err = decodeRunBooleans(v, g.body, n, present)
	case g.encoding == format.DeltaBinaryPacked && (leaf.Type == format.Int32 || leaf.Type == format.Int64):
		v.Fixed = resize(v.Fixed, n*leaf.Width)
		var rest []byte
		if rest, err = decodeDelta(v.Fixed[:present*leaf.Width], g.body, leaf.Width); err == nil && len(rest) > 0 {
			err = corruptf("%d bytes are left behind the last value", len(rest))
		}
	case g.encoding == format.DeltaLengthByteArray && leaf.Type == format.ByteArray:
		err = p.decodeDeltaLengths(v, n, present)
	case g.encoding == format.DeltaByteArray && (leaf.Type == format.ByteArray || leaf.Type == format.FixedLenByteArray):
		err = p.decodeDeltaStrings(v, n, present)
	case g.encoding == format.ByteStreamSplit && leaf.Width > 1 && leaf.Type != format.Int96:
		err = decodeSplit(v, g.body, n, present)
	default:
		return unsupportedf("encoding of a %s column", leaf.Type)
	}
	if err != nil {
		return err
	}
	if g.encoding != format.DeltaByteArray {
		p.last = p.last[:0]
	}
	if err := checkNarrow(leaf, v.Fixed, present); err != nil {
		return err
	}
	if present < n {
		spread(v, into.Def, into.MaxDef, present)
	}
	return nil
}

// decodeIndices decodes a page of a dictionary.
func (p *PageReader) decodeIndices(into *column.Column, present int) error {
	n, body := into.Slots, p.page.body
	if p.dict == nil && present == 0 {
		sizeVector(&into.Values, n)
		return nil
	}
	if p.dict == nil {
		return corruptf("no dictionary page before it")
	}
	into.Dict, into.Index = p.dict, resize(into.Index, n)
	p.last = p.last[:0]
	if present == 0 {
		clear(into.Index)
		return checkNoRuns(body)
	}
	if len(body) == 0 || body[0] > 32 {
		return corruptf("no valid bit width")
	}
	width, limit := int(body[0]), uint32(p.dict.Len())
	if picked := p.picked(n); picked != nil && present == n {
		return decodePicked(into.Index, body[1:], width, limit, picked)
	}
	if err := decodeHybrid(into.Index[:present], body[1:], width, limit); err != nil {
		return err
	}
	if present < n {
		spreadIndices(into.Index, into.Def, into.MaxDef, present)
	}
	return nil
}

// checkNoRuns checks the body of a page without a value: at most a bit width, and zeros. Indices are there where damage made levels of what
// are none.
func checkNoRuns(body []byte) error {
	for i, b := range body {
		if i > 0 && b != 0 {
			return corruptf("%d bytes in a page of NULL", len(body))
		}
	}
	return nil
}

// picked are the slots of the page whose values are asked for where these are few; nil for all of them.
func (p *PageReader) picked(slots int) []Rows {
	if !p.sparse || p.leaf.MaxRep > 0 || !p.wants(p.row, int64(slots)) || p.all {
		return nil
	}
	p.picks = p.picks[:0]
	values := int64(0)
	for _, r := range p.want {
		from, to := max(r.From-p.row, 0), min(r.To-p.row, int64(slots))
		if from >= to || values > int64(slots)/pickedShare {
			break
		}
		p.picks = append(p.picks, Rows{From: from, To: to})
		values += to - from
	}
	if values > int64(slots)/pickedShare {
		return nil
	}
	return p.picks
}

// checkNarrow refuses integers beyond the 8 or 16 bits that their column declares: engines cut them to those, each in its way.
func checkNarrow(leaf *column.Leaf, values []byte, n int) error {
	a := leaf.Annotation
	if a.Kind != column.Int || a.Bits >= 32 {
		return nil
	}
	low, high := int32(-1)<<(a.Bits-1), int32(1)<<(a.Bits-1)-1
	if a.Unsigned {
		low, high = 0, int32(1)<<a.Bits-1
	}
	for i := range n {
		if v := int32(binary.LittleEndian.Uint32(values[4*i:])); v < low || v > high {
			return corruptf("value %d in a column of %d bits", v, a.Bits)
		}
	}
	return nil
}

// sizeVector makes room for n slots: fixed-width values are zeros, byte arrays empty.
func sizeVector(v *column.Vector, n int) {
	if v.Width == 0 {
		v.Offsets = resize(v.Offsets, n+1)
		clear(v.Offsets)
		return
	}
	v.Fixed = resize(v.Fixed, n*v.Width)
	clear(v.Fixed)
}

// decodePlain decodes present values to the front of a vector of n slots.
func decodePlain(v *column.Vector, leaf *column.Leaf, body []byte, n, present int) error {
	switch {
	case leaf.Type == format.Boolean:
		if len(body) < (present+7)/8 {
			return corruptf("%d bytes for %d booleans", len(body), present)
		}
		v.Fixed = resize(v.Fixed, n)
		unpackBits(v.Fixed[:present], body)
		return nil
	case v.Width == 0:
		return decodePlainBytes(v, body, n, present)
	case len(body) != present*v.Width:
		return corruptf("%d bytes for %d values of %d", len(body), present, v.Width)
	}
	v.Fixed = resize(v.Fixed, n*v.Width)
	copy(v.Fixed, body)
	return nil
}

// copyAhead is how many bytes of a byte array are copied at once, whatever its length.
const copyAhead = 32

// decodePlainBytes splits byte arrays from their lengths.
func decodePlainBytes(v *column.Vector, body []byte, n, present int) error {
	if len(body)/4 < present {
		return corruptf("%d bytes for %d byte arrays", len(body), present)
	}
	size := len(body) - 4*present
	v.Offsets = resize(v.Offsets, n+1)
	data := resize(v.Data, size+copyAhead)
	offsets := v.Offsets[1 : 1+present]
	v.Offsets[0] = 0
	at, to := 0, 0
	for i := range offsets {
		if len(body)-at < 4 {
			return corruptf("the body ends %d byte arrays early", present-i)
		}
		n := int(binary.LittleEndian.Uint32(body[at:]))
		at += 4
		if n > len(body)-at || to+n > size {
			return corruptf("byte array of %d bytes passes the end", n)
		}
		// Most are short: copying a fixed number of bytes saves a call for each.
		if n <= copyAhead && len(body)-at >= copyAhead {
			*(*[copyAhead]byte)(data[to:]) = *(*[copyAhead]byte)(body[at:])
		} else {
			copy(data[to:], body[at:at+n])
		}
		at += n
		to += n
		offsets[i] = uint32(to)
	}
	v.Data = data[:to]
	if at != len(body) {
		return corruptf("%d bytes are left behind the last byte array", len(body)-at)
	}
	return nil
}

// decodeRunBooleans decodes booleans in the hybrid of levels, behind its length.
func decodeRunBooleans(v *column.Vector, body []byte, n, present int) error {
	runs, _, err := cutLevels(body, present, 1, format.RLE)
	if err != nil {
		return err
	}
	v.Fixed = resize(v.Fixed, n)
	return decodeHybrid(v.Fixed[:present], runs, 1, 2)
}

// decodeSplit puts the streams of BYTE_STREAM_SPLIT together: stream k holds byte k of every value.
func decodeSplit(v *column.Vector, body []byte, n, present int) error {
	width := v.Width
	if len(body) != present*width {
		return corruptf("%d bytes for %d values of %d", len(body), present, width)
	}
	v.Fixed = resize(v.Fixed, n*width)
	if width == 8 {
		joinStreams8(v.Fixed, body, present)
		return nil
	}
	for k := range width {
		stream := body[k*present : (k+1)*present]
		out := v.Fixed[k:]
		for i, b := range stream {
			out[i*width] = b
		}
	}
	return nil
}

func joinStreams8(dst, body []byte, n int) {
	var s [8][]byte
	for k := range s {
		s[k] = body[k*n : (k+1)*n]
	}
	for i := range n {
		v := uint64(s[0][i]) | uint64(s[1][i])<<8 | uint64(s[2][i])<<16 | uint64(s[3][i])<<24 |
			uint64(s[4][i])<<32 | uint64(s[5][i])<<40 | uint64(s[6][i])<<48 | uint64(s[7][i])<<56
		binary.LittleEndian.PutUint64(dst[8*i:], v)
	}
}

// spread moves the first present values of a vector to the slots that have one; others become zeros
// or empty.
func spread(v *column.Vector, def []uint8, top uint8, present int) {
	switch v.Width {
	case 0:
		spreadOffsets(v.Offsets, def, top, present)
	case 4:
		spread4(v.Fixed, def, top, present)
	case 8:
		spread8(v.Fixed, def, top, present)
	default:
		spreadWide(v.Fixed, v.Width, def, top, present)
	}
}

// The loops run from the end, so that no value is overwritten before it is moved, and without
// branches on the levels, which are not to be predicted.

func spread8(values []byte, def []uint8, top uint8, present int) {
	from := present - 1
	for i := len(def) - 1; i >= 0; i-- {
		if from < 0 {
			clear(values[:8*(i+1)])
			return
		}
		has := isTop(def[i], top)
		v := binary.LittleEndian.Uint64(values[8*from:]) & -uint64(has)
		binary.LittleEndian.PutUint64(values[8*i:], v)
		from -= has
	}
}

func spread4(values []byte, def []uint8, top uint8, present int) {
	from := present - 1
	for i := len(def) - 1; i >= 0; i-- {
		if from < 0 {
			clear(values[:4*(i+1)])
			return
		}
		has := isTop(def[i], top)
		v := binary.LittleEndian.Uint32(values[4*from:]) & -uint32(has)
		binary.LittleEndian.PutUint32(values[4*i:], v)
		from -= has
	}
}

func spreadIndices(values []int32, def []uint8, top uint8, present int) {
	from := present - 1
	for i := len(def) - 1; i >= 0; i-- {
		if from < 0 {
			clear(values[:i+1])
			return
		}
		has := isTop(def[i], top)
		values[i] = values[from] & -int32(has)
		from -= has
	}
}

func spreadOffsets(offsets []uint32, def []uint8, top uint8, present int) {
	from := present
	for i := len(def); i > 0; i-- {
		offsets[i] = offsets[from]
		from -= isTop(def[i-1], top)
	}
}

func spreadWide(values []byte, width int, def []uint8, top uint8, present int) {
	from := present
	for i := len(def) - 1; i >= 0; i-- {
		slot := values[i*width : (i+1)*width]
		if def[i] != top {
			clear(slot)
			continue
		}
		from--
		copy(slot, values[from*width:(from+1)*width])
	}
}

func isTop(level, top uint8) (is int) {
	if level == top {
		is = 1
	}
	return is
}
