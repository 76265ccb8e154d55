package merge

import (
	"context"
	"sync"

	"github.com/hupsert/hupsert/merge/spill"
)

// band is the source rows whose keys lie between two bounds, with what is needed to look keys up. There is
// one band of all rows; where their keys do not fit into memory there are several, kept on disk, and one
// at a time is loaded. Rows of a band are numbered from 0, in the order of the source.
type band struct {
	source *source
	n      int
	first  int      // the source row of row 0, where rows is nil: rows follow each other
	rows   []uint32 // the source row of each row, ascending

	keys     keys
	versions keys  // of any length, empty without OrderBy
	against  *keys // the parts of versions that the old files have; nil where they have none
	index    *index
	hashOnce sync.Once
	order    order
	ranges   []partRange // per key part of fixed width; nil: not known
	filter   *filter     // nil: none

	stored []spill.Block // where the rows are kept until load
}

// row is the source row of row i.
func (b *band) row(i int) int {
	if b.rows == nil {
		return b.first + i
	}
	return int(b.rows[i])
}

// fate is what has become of row i.
func (b *band) fate(i int) *fate { return &b.source.fates[b.row(i)] }

// load brings the band into memory and settles which rows hold their keys, to look them up among old rows.
func (b *band) load(ctx context.Context, o *Options, old int64) error {
	if err := b.restore(o); err != nil {
		return err
	}
	if err := b.holdKeys(ctx, o); err != nil {
		return err
	}
	if int64(b.n) < old/fewRows {
		b.filter = b.makeFilter()
	}
	return nil
}

// drop forgets everything but the number of rows.
func (b *band) drop() {
	b.rows, b.keys, b.versions, b.against, b.index, b.order, b.ranges, b.filter = nil, keys{}, keys{}, nil, nil, order{}, nil, nil
}

// hashed is the index; for keys that came sorted it is made when it is first needed.
func (b *band) hashed() *index {
	b.hashOnce.Do(func() {
		if b.index == nil {
			b.index = newIndex(&b.keys, b.n)
			for row := range b.n {
				b.index.put(row)
			}
		}
	})
	return b.index
}

// holders is how many rows hold their key, where the order is known.
func (b *band) holders() int {
	if b.order.asTheyCame {
		return b.n
	}
	return len(b.order.rows)
}

// ascending reports whether the keys come sorted, none of them NULL or twice.
func (b *band) ascending() bool {
	for row := range b.n {
		if *b.fate(row) == nullKey {
			return false
		}
	}
	return b.keys.ascend(0, b.n)
}

// sortLimit is the number of rows up to which sorting keys pays for the pages it rules out.
const sortLimit = 4 << 20

// order lists the rows that hold their key, by key. The zero value is no order: sorting did not pay.
type order struct {
	asTheyCame bool     // all rows hold their key and came sorted
	rows       []uint32 // else
}

// known reports whether there is an order.
func (o *order) known() bool { return o.asTheyCame || o.rows != nil }

// row is the i-th row by key.
func (o *order) row(i int) int {
	if o.asTheyCame {
		return i
	}
	return int(o.rows[i])
}

// sortHolders orders the rows that hold their key, for pruning and for inserts.
func (b *band) sortHolders() {
	holders := make([]uint32, 0, b.n)
	for row := range b.n {
		if *b.fate(row) == pending {
			holders = append(holders, uint32(row))
		}
	}
	if len(holders) <= sortLimit {
		sortedBy(&b.keys, holders)
		b.order.rows = holders
	}
}
