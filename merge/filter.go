package merge

import "bytes"

// filter rules out most old rows by one part of their key, so that the other parts of a composite key
// need not be encoded, nor looked up. It is a bitmap of the hashes of that part's values in a band.
type filter struct {
	part  int
	words []uint64
	shift uint
}

// fewRows is how many times as many old rows as rows of the band make a filter pay.
const fewRows = 8

// filterSample is how many keys of a band are looked at to choose the part.
const filterSample = 1 << 12

// makeFilter chooses the part of the keys that tells most rows apart; nil where the key is one part or
// NULL is a value.
func (b *band) makeFilter() *filter {
	l := &b.source.layout
	if len(l.parts) < 2 || l.nullable || b.n == 0 {
		return nil
	}
	f := &filter{}
	most := 0
	for part := range l.parts {
		seen := map[string]struct{}{}
		for i := 0; i < b.n; i += max(1, b.n/filterSample) {
			if *b.fate(i) != nullKey {
				seen[string(l.cut(b.keys.at(i), part))] = struct{}{}
			}
		}
		if len(seen) > most {
			f.part, most = part, len(seen)
		}
	}
	words := 8
	for words*64 < 16*b.n {
		words *= 2
	}
	f.words, f.shift = make([]uint64, words), 64
	for n := words * 64; n > 1; n >>= 1 {
		f.shift--
	}
	for i := range b.n {
		if *b.fate(i) != nullKey {
			bit := hash(l.cut(b.keys.at(i), f.part)) >> f.shift
			f.words[bit>>6] |= 1 << (bit & 63)
		}
	}
	return f
}

// may reports whether some key of the band may have a part.
func (f *filter) may(part []byte) bool {
	bit := hash(part) >> f.shift
	return f.words[bit>>6]&(1<<(bit&63)) != 0
}

// cut gives one part of a key whose parts are never NULL.
func (l *layout) cut(key []byte, part int) []byte {
	for i, p := range l.parts {
		end := p.width()
		switch {
		case end > 0:
		case p.last:
			end = len(key)
		default:
			end = bytes.Index(key, []byte{0, 1}) + 2 // inside, 00 is followed by FF
		}
		if i == part {
			return key[:end]
		}
		key = key[end:]
	}
	return nil
}

// partKeys encodes one part of the keys of n rows, as keys of their own.
func (l *layout) partKeys(dst *keys, nulls []bool, part int, enc []encoder, cols []cursorColumn, n int) error {
	one := layout{parts: l.parts[part : part+1], width: l.parts[part].width()}
	return one.encode(dst, nulls, enc[part:part+1], cols[part:part+1], n)
}

// withoutNulls reports whether, as the statistics say, no row of the group has a NULL in its key.
func (g *rowGroup) withoutNulls() bool {
	for _, part := range g.file.keys {
		if part.leaf.MaxDef == 0 {
			continue
		}
		if st := g.chunk(part.leaf).Stats; st == nil || st.NullCount != 0 {
			return false
		}
	}
	return true
}
