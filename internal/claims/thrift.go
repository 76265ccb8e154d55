package claims

import (
	"encoding/binary"
	"fmt"
	"math"
)

// object is a Thrift struct by the ids of its fields: int64, float64, bool, []byte, []any or object.
type object map[int16]any

func (o object) int(id int16) (int64, bool) {
	n, ok := o[id].(int64)
	return n, ok
}

func (o object) bytes(id int16) ([]byte, bool) {
	b, ok := o[id].([]byte)
	return b, ok
}

func (o object) object(id int16) object {
	in, _ := o[id].(object)
	return in
}

func (o object) list(id int16) []any {
	list, _ := o[id].([]any)
	return list
}

// parse reads a struct in Thrift's compact protocol, and returns its length.
func parse(data []byte) (o object, n int, err error) {
	p := parser{data: data}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("thrift at byte %d: %v", p.at, r)
		}
	}()
	o = p.object()
	return o, p.at, nil
}

// parser reads values; it panics where the bytes end or make no sense.
type parser struct {
	data []byte
	at   int
}

func (p *parser) byte() byte {
	p.at++
	return p.data[p.at-1]
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.data[p.at:])
	if n <= 0 {
		panic("no varint")
	}
	p.at += n
	return v
}

func (p *parser) varint() int64 {
	v := p.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (p *parser) object() object {
	o, id := object{}, int16(0)
	for {
		head := p.byte()
		if head == 0 {
			return o
		}
		if delta := head >> 4; delta > 0 {
			id += int16(delta)
		} else {
			id = int16(p.varint())
		}
		switch kind := head & 15; kind {
		case 1, 2:
			o[id] = kind == 1
		default:
			o[id] = p.value(kind)
		}
	}
}

func (p *parser) value(kind byte) any {
	switch kind {
	case 1, 2: // an element of a list
		return p.byte() == 1
	case 3:
		return int64(int8(p.byte()))
	case 4, 5, 6:
		return p.varint()
	case 7:
		p.at += 8
		return math.Float64frombits(binary.LittleEndian.Uint64(p.data[p.at-8:]))
	case 8:
		n := int(p.uvarint())
		p.at += n
		return p.data[p.at-n : p.at : p.at]
	case 9, 10:
		head := p.byte()
		n := int(head >> 4)
		if n == 15 {
			n = int(p.uvarint())
		}
		list := []any{}
		for range n {
			list = append(list, p.value(head&15))
		}
		return list
	case 12:
		return p.object()
	}
	panic(fmt.Sprintf("type %d", kind))
}
