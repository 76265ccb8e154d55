package merge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/column"
)

// encodeKeys encodes the keys of all rows, batches in parallel.
func (s *source) encodeKeys(ctx context.Context, o *Options) error {
	shares := s.rows.shares(o.workers())
	encoded := make([]keys, len(shares))
	nullRows := make([][]int, len(shares))
	if w := s.layout.width; w > 0 { // each share's place is known: nothing is copied afterwards
		s.keys = keys{width: w, data: make([]byte, s.rows.n*w)}
		for i, share := range shares {
			last := share[len(share)-1]
			from, to := share[0].base*w, (last.base+last.n)*w
			encoded[i].data = s.keys.data[from:from:to]
		}
	}
	eg, ctx := errgroup.WithContext(ctx)
	for i, share := range shares {
		eg.Go(func() (err error) {
			nullRows[i], err = s.encodeShare(ctx, share, &encoded[i])
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	if s.layout.width == 0 {
		s.keys = joinKeys(encoded)
	}
	return s.refuseNullKeys(slices.Concat(nullRows...), o)
}

func (s *source) encodeShare(ctx context.Context, share []*sourceBatch, dst *keys) (nullRows []int, err error) {
	parts, err := s.parts(s.key)
	if err != nil {
		return nil, err
	}
	defer closeParts(parts)
	enc := make([]encoder, len(parts))
	cols := make([]cursorColumn, len(parts))
	for _, b := range share {
		for i, p := range parts {
			c, err := p.read(ctx, b)
			if err != nil {
				return nil, err
			}
			enc[i], cols[i] = p.enc, cursorColumn{col: c}
		}
		nulls := make([]bool, b.n)
		if err := s.layout.encode(dst, nulls, enc, cols, b.n); err != nil {
			return nil, &Error{Kind: ErrValue, Err: err, Message: "encode the source's keys"}
		}
		for i, null := range nulls {
			if null {
				nullRows = append(nullRows, b.base+i)
			}
		}
	}
	return nullRows, nil
}

func (s *source) refuseNullKeys(nullRows []int, o *Options) error {
	if len(nullRows) == 0 {
		return nil
	}
	if o.NullKeys != PolicyReject {
		sample := make([]string, 0, 3)
		for _, row := range nullRows[:min(len(nullRows), 3)] {
			sample = append(sample, fmt.Sprintf("%s (%s)", s.rows.keyText(row, s.keyTables()), s.rows.position(row)))
		}
		return &Error{Kind: ErrNullKey, Column: strings.Join(o.Key, ","),
			Message: fmt.Sprintf("%s: %s", plural(len(nullRows), "source row has NULL in its key", "source rows have NULL in their key"), strings.Join(sample, "; ")),
			Hint:    "correct them, or choose --null-keys reject or match"}
	}
	for _, row := range nullRows {
		s.fates[row] = nullKey
		if err := s.reject(o, "null_key", row); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) reject(o *Options, reason string, row int) error {
	if o.Reject == nil {
		return nil
	}
	all := make([]int, s.rows.binding.schema.NumFields())
	for i := range all {
		all[i] = i
	}
	return o.Reject(Reject{Reason: reason, Position: s.rows.position(row), Values: s.rows.text(row, all)})
}

func (s *source) keyTables() []int {
	out := make([]int, len(s.key))
	for i, k := range s.key {
		out[i] = k.table
	}
	return out
}

// encodeVersions makes the version of every row comparable as bytes. NULL is lowest.
func (s *source) encodeVersions(ctx context.Context) error {
	if len(s.version) == 0 {
		return nil
	}
	if err := s.appendVersions(ctx, &s.versions, s.version); err != nil {
		return err
	}
	switch len(s.stored) {
	case 0:
		return nil
	case len(s.version):
		s.against = &s.versions
		return nil
	}
	parts := make([]keyColumn, len(s.stored))
	for i, v := range s.stored {
		parts[i] = s.version[v]
	}
	s.against = &keys{}
	return s.appendVersions(ctx, s.against, parts)
}

func (s *source) appendVersions(ctx context.Context, dst *keys, list []keyColumn) error {
	parts, err := s.parts(list)
	if err != nil {
		return err
	}
	defer closeParts(parts)
	cols := make([]*column.Column, len(parts))
	for _, b := range s.rows.batches {
		for i, p := range parts {
			if cols[i], err = p.read(ctx, b); err != nil {
				return err
			}
		}
		for i := range b.n {
			for v, p := range parts {
				if dst.data, err = appendVersion(dst.data, p.keyColumn, p.enc, cols[v], i); err != nil {
					return &Error{Kind: ErrValue, Column: p.path, Err: err, Message: "at " + s.rows.position(b.base+i),
						Hint: "correct the version"}
				}
			}
			dst.ends = append(dst.ends, uint64(len(dst.data)))
		}
	}
	return nil
}

// appendVersion appends one part of a version, so that parts compare in turn.
func appendVersion(dst []byte, k keyColumn, e encoder, c *column.Column, slot int) ([]byte, error) {
	at := len(dst)
	if c.Null(slot) {
		dst = append(dst, 0)
	} else {
		v := c.Value(slot)
		if nan := column.IsNaN(e.leaf); nan != nil && nan(v) {
			return dst, fmt.Errorf("NaN is no version")
		}
		var err error
		if dst, err = e.put(append(dst, 1), v); err != nil {
			return dst, err
		}
	}
	if k.desc && !c.Null(slot) {
		for i := at + 1; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst, nil
}
