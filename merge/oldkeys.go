package merge

import (
	"context"

	"github.com/hupsert/hupsert/merge/splice"
)

// oldKeys encodes the keys of rows of one row group, forward.
type oldKeys struct {
	layout  *layout
	group   *rowGroup
	cursors []*cursor
	enc     []encoder
	cols    []cursorColumn

	keys  keys   // of the rows that were read last
	nulls []bool // which of them have NULL in their key
}

// oldKeys reads within ranges of rows.
func (g *rowGroup) oldKeys(l *layout, ranges []splice.Rows) *oldKeys {
	k := &oldKeys{layout: l, group: g, nulls: make([]bool, probeRows), cols: make([]cursorColumn, len(g.file.keys))}
	for _, part := range g.file.keys {
		k.cursors, k.enc = append(k.cursors, g.cursor(part.leaf, ranges)), append(k.enc, part.enc)
	}
	return k
}

// read encodes the keys of up to n rows, at most probeRows, from row on, and gives of how many: as many as lie in one
// page of every key column.
func (k *oldKeys) read(ctx context.Context, row, n int64) (int64, error) {
	for i, c := range k.cursors {
		slot, left, err := c.at(ctx, row)
		if err != nil {
			return 0, err
		}
		k.cols[i] = cursorColumn{col: &c.col, from: slot}
		n = min(n, left)
	}
	k.keys.reset()
	clear(k.nulls[:n])
	if err := k.layout.encode(&k.keys, k.nulls, k.enc, k.cols, int(n)); err != nil {
		return 0, k.explain(err)
	}
	return n, nil
}

func (k *oldKeys) explain(err error) error {
	return &Error{Kind: ErrValue, File: k.group.file.Name, Err: err, Message: "encode the keys of " + k.group.String()}
}

// close ends the reading and adds the bytes that it read.
func (k *oldKeys) close(read *int64) {
	for _, c := range k.cursors {
		c.close(read)
	}
}
