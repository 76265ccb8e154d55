package splice

import (
	"encoding/binary"
	"math"
	"slices"
)

// Types of the compact protocol that only a tree holds; header.go names the others.
const (
	compactI16    = 4
	compactDouble = 7
	compactSet    = 10
	compactMap    = 11
	compactUUID   = 13
)

// thriftDepth limits how deep structs and lists nest. Parquet's own structs nest seven deep.
const thriftDepth = 32

// tValue is a value of Thrift's compact protocol, as a tree that keeps everything: fields this
// package knows nothing of, their order, the difference between zero and absent. What is not changed
// is serialised as it was read, byte for byte, if the writer used the protocol's short forms, as
// Thrift's own libraries do.
//
// Fields are reached by their ids in parquet.thrift:
//
//	meta.field(3)          // *tValue, nil where absent
//	meta.int(3, -1)        // an integer of any width, or -1
//	meta.setInt(3, compactI64, rows)
//	meta.remove(7)
//
// A pointer that field returned holds until a field is added to or removed from the same struct.
// Values share strings but not children: clone before changing what must stay.
type tValue struct {
	id   int16    // as a field of a struct
	kind byte     // compactTrue stands for both booleans, num telling which
	elem byte     // type of a list's elements; of a map's keys and values, four bits each
	num  int64    // boolean 0 or 1, integers, bits of a double
	data string   // binary, UUID
	kids []tValue // fields; elements; keys and values in turn
}

// newStruct returns a struct without fields.
func newStruct() tValue { return tValue{kind: compactStruct} }

// newList returns a list of elements of a type.
func newList(elem byte, kids ...tValue) tValue {
	return tValue{kind: compactList, elem: elem, kids: kids}
}

// newInt returns an integer of a width: compactI8, compactI16, compactI32 or compactI64.
func newInt(kind byte, n int64) tValue { return tValue{kind: kind, num: n} }

// newBinary returns a string or byte array.
func newBinary(data string) tValue { return tValue{kind: compactBinary, data: data} }

// newBool returns a boolean.
func newBool(b bool) tValue {
	v := tValue{kind: compactTrue}
	if b {
		v.num = 1
	}
	return v
}

// field returns a struct's field, nil where v is nil, no struct, or lacks it.
func (v *tValue) field(id int16) *tValue {
	if v == nil || v.kind != compactStruct {
		return nil
	}
	for i := range v.kids {
		if v.kids[i].id == id {
			return &v.kids[i]
		}
	}
	return nil
}

// int returns an integer field of any width, or missing where it is absent or no integer.
func (v *tValue) int(id int16, missing int64) int64 {
	f := v.field(id)
	if f == nil || f.kind < compactI8 || f.kind > compactI64 {
		return missing
	}
	return f.num
}

// bool returns a boolean field, or missing.
func (v *tValue) bool(id int16, missing bool) bool {
	f := v.field(id)
	if f == nil || f.kind != compactTrue {
		return missing
	}
	return f.num == 1
}

// binary returns a string field and whether it is there.
func (v *tValue) binary(id int16) (string, bool) {
	f := v.field(id)
	if f == nil || f.kind != compactBinary {
		return "", false
	}
	return f.data, true
}

// list returns the elements of a list field, which may be changed in place; nil where it is absent
// or its elements have another type.
func (v *tValue) list(id int16, elem byte) []tValue {
	f := v.field(id)
	if f == nil || f.kind != compactList || f.elem != elem {
		return nil
	}
	return f.kids
}

// set puts a field in place of the one with its id, or where its id belongs.
func (v *tValue) set(id int16, field tValue) {
	field.id = id
	at := len(v.kids)
	for i := range v.kids {
		if v.kids[i].id == id {
			v.kids[i] = field
			return
		}
		if v.kids[i].id > id && i < at {
			at = i
		}
	}
	v.kids = slices.Insert(v.kids, at, field)
}

// setInt sets an integer field. A field that is there keeps its width.
func (v *tValue) setInt(id int16, kind byte, n int64) {
	if f := v.field(id); f != nil && f.kind >= compactI8 && f.kind <= compactI64 {
		f.num = n
		return
	}
	v.set(id, newInt(kind, n))
}

// setBool sets a boolean field.
func (v *tValue) setBool(id int16, b bool) { v.set(id, newBool(b)) }

// setBinary sets a string field.
func (v *tValue) setBinary(id int16, data string) { v.set(id, newBinary(data)) }

// remove drops a field if it is there.
func (v *tValue) remove(id int16) {
	v.kids = slices.DeleteFunc(v.kids, func(f tValue) bool { return f.id == id })
}

// clone returns a copy that shares nothing that can be changed.
func (v *tValue) clone() tValue {
	c := *v
	if v.kids != nil {
		c.kids = make([]tValue, len(v.kids))
		for i := range v.kids {
			c.kids[i] = v.kids[i].clone()
		}
	}
	return c
}

// append serialises a value without the header that it has as a field.
func (v *tValue) append(dst []byte) []byte {
	switch v.kind {
	case compactTrue:
		return append(dst, byte(v.num)) // an element: a field's boolean lies in its header
	case compactI8:
		return append(dst, byte(v.num))
	case compactI16, compactI32, compactI64:
		return binary.AppendVarint(dst, v.num)
	case compactDouble:
		return binary.LittleEndian.AppendUint64(dst, uint64(v.num))
	case compactBinary:
		dst = binary.AppendUvarint(dst, uint64(len(v.data)))
		return append(dst, v.data...)
	case compactUUID:
		return append(dst, v.data...)
	case compactList, compactSet:
		return v.appendList(dst)
	case compactMap:
		return v.appendMap(dst)
	}
	return v.appendStruct(dst)
}

func (v *tValue) appendStruct(dst []byte) []byte {
	last := int16(0)
	for i := range v.kids {
		f := &v.kids[i]
		kind := f.kind
		if kind == compactTrue && f.num == 0 {
			kind = compactFalse
		}
		if delta := int(f.id) - int(last); delta > 0 && delta < 16 {
			dst = append(dst, byte(delta)<<4|kind)
		} else {
			dst = binary.AppendVarint(append(dst, kind), int64(f.id))
		}
		last = f.id
		if f.kind != compactTrue {
			dst = f.append(dst)
		}
	}
	return append(dst, 0)
}

func (v *tValue) appendList(dst []byte) []byte {
	if len(v.kids) < 15 {
		dst = append(dst, byte(len(v.kids))<<4|v.elem)
	} else {
		dst = binary.AppendUvarint(append(dst, 0xF0|v.elem), uint64(len(v.kids)))
	}
	return v.appendKids(dst)
}

func (v *tValue) appendMap(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v.kids)/2))
	if len(v.kids) == 0 {
		return dst
	}
	return v.appendKids(append(dst, v.elem))
}

func (v *tValue) appendKids(dst []byte) []byte {
	for i := range v.kids {
		dst = v.kids[i].append(dst)
	}
	return dst
}

// parseThrift reads a struct from the start of data and returns it with its length. It allocates at
// most two tValues for each byte of data.
func parseThrift(data []byte) (v tValue, n int, err error) {
	p := thriftParser{data: string(data), budget: len(data)}
	if err := p.value(&v, compactStruct, 0); err != nil {
		return tValue{}, p.at, err
	}
	return v, p.at, nil
}

// thriftParser reads values from data, which those that are binary alias.
type thriftParser struct {
	data   string
	at     int
	budget int // values that may still be made: each takes a byte of data
}

func (p *thriftParser) corrupt(what string) error {
	return corruptf("thrift: %s at byte %d", what, p.at)
}

func (p *thriftParser) value(v *tValue, kind byte, depth int) error {
	v.kind = kind
	var err error
	switch kind {
	case compactTrue, compactFalse:
		v.kind = compactTrue
		b, err := p.byte()
		v.num = int64(b)
		return err
	case compactI8:
		b, err := p.byte()
		v.num = int64(int8(b))
		return err
	case compactI16, compactI32, compactI64:
		v.num, err = p.varint()
		return p.fits(v, err)
	case compactDouble:
		if p.at+8 > len(p.data) {
			return p.corrupt("unexpected end")
		}
		v.num = int64(binary.LittleEndian.Uint64([]byte(p.data[p.at : p.at+8])))
		p.at += 8
		return nil
	case compactBinary:
		n, err := p.uvarint()
		if err != nil {
			return err
		}
		return p.bytes(v, n)
	case compactUUID:
		return p.bytes(v, 16)
	}
	if depth >= thriftDepth {
		return p.corrupt("values nest too deep")
	}
	switch kind {
	case compactList, compactSet:
		return p.list(v, depth+1)
	case compactMap:
		return p.pairs(v, depth+1)
	case compactStruct:
		return p.fields(v, depth+1)
	}
	return p.corrupt("unknown type")
}

// fits checks an integer against its type.
func (p *thriftParser) fits(v *tValue, err error) error {
	switch {
	case err != nil:
		return err
	case v.kind == compactI16 && v.num != int64(int16(v.num)), v.kind == compactI32 && v.num != int64(int32(v.num)):
		return p.corrupt("integer exceeds its type")
	}
	return nil
}

func (p *thriftParser) bytes(v *tValue, n uint64) error {
	if n > uint64(len(p.data)-p.at) {
		return p.corrupt("string passes the end")
	}
	v.data = p.data[p.at : p.at+int(n)]
	p.at += int(n)
	return nil
}

func (p *thriftParser) fields(v *tValue, depth int) error {
	last := int16(0)
	for {
		b, err := p.byte()
		if err != nil {
			return err
		}
		kind := b & 15
		if b == 0 {
			return nil
		}
		id := int64(last) + int64(b>>4)
		if b>>4 == 0 {
			if id, err = p.varint(); err != nil {
				return err
			}
		}
		if id < math.MinInt16 || id > math.MaxInt16 {
			return p.corrupt("field id out of range")
		}
		if v.kids == nil {
			v.kids = make([]tValue, 0, 4)
		}
		last = int16(id)
		v.kids = append(v.kids, tValue{id: last})
		f := &v.kids[len(v.kids)-1]
		if kind == compactTrue || kind == compactFalse {
			f.kind, f.num = compactTrue, int64(compactFalse-kind)
			continue
		}
		if err := p.value(f, kind, depth); err != nil {
			return err
		}
	}
}

func (p *thriftParser) list(v *tValue, depth int) error {
	b, err := p.byte()
	if err != nil {
		return err
	}
	v.elem = b & 15
	n := uint64(b >> 4)
	if n == 15 {
		if n, err = p.uvarint(); err != nil {
			return err
		}
	}
	if err := p.room(v, n); err != nil {
		return err
	}
	for i := range v.kids {
		if err := p.value(&v.kids[i], v.elem, depth); err != nil {
			return err
		}
	}
	return nil
}

func (p *thriftParser) pairs(v *tValue, depth int) error {
	n, err := p.uvarint()
	if err != nil || n == 0 {
		return err
	}
	if v.elem, err = p.byte(); err != nil {
		return err
	}
	if n > math.MaxInt32 {
		return p.corrupt("map passes the end")
	}
	if err := p.room(v, 2*n); err != nil {
		return err
	}
	for i := range v.kids {
		kind := v.elem >> 4
		if i%2 == 1 {
			kind = v.elem & 15
		}
		if err := p.value(&v.kids[i], kind, depth); err != nil {
			return err
		}
	}
	return nil
}

// room makes a list's elements. The budget is shared by all lists, so that lists in lists cannot
// each claim what is left of the data.
func (p *thriftParser) room(v *tValue, n uint64) error {
	if n > uint64(p.budget) {
		return p.corrupt("list passes the end")
	}
	p.budget -= int(n)
	v.kids = make([]tValue, n)
	return nil
}

func (p *thriftParser) byte() (byte, error) {
	if p.at >= len(p.data) {
		return 0, p.corrupt("unexpected end")
	}
	b := p.data[p.at]
	p.at++
	return b, nil
}

func (p *thriftParser) uvarint() (uint64, error) {
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		b, err := p.byte()
		if err != nil {
			return 0, err
		}
		n |= uint64(b&0x7F) << shift
		if b < 0x80 {
			if shift == 63 && b > 1 {
				break
			}
			return n, nil
		}
	}
	return 0, p.corrupt("integer has too many bytes")
}

func (p *thriftParser) varint() (int64, error) {
	n, err := p.uvarint()
	return int64(n>>1) ^ -int64(n&1), err
}
