package merge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/column"
)

// encode makes the keys and versions of all rows comparable as bytes and puts them into bands.
func (s *source) encode(ctx context.Context, o *Options) error {
	bounds, err := s.bounds(ctx, o)
	if err != nil {
		return err
	}
	if bounds != nil {
		return s.encodeBands(ctx, bounds, o)
	}
	b := &band{source: s, n: s.rows.n}
	s.bands = []*band{b}
	shares := s.rows.shares(o.workers())
	parts := make([]rowKeys, len(shares))
	if w := s.layout.width; w > 0 { // each share's place is known: nothing is copied afterwards
		b.keys = keys{width: w, data: make([]byte, s.rows.n*w)}
		for i, share := range shares {
			last := share[len(share)-1]
			from, to := share[0].base*w, (last.base+last.n)*w
			parts[i].keys.data = b.keys.data[from:from:to]
		}
	}
	unsorted := make([]bool, len(shares))
	nulls, err := s.eachShare(ctx, shares, func(i int, _ *sourceBatch, read func(*rowKeys) error) error {
		k := &parts[i].keys
		before := k.len()
		if err := read(&parts[i]); err != nil {
			return err
		}
		unsorted[i] = unsorted[i] || !k.ascend(max(before-1, 0), k.len())
		return nil
	})
	if err != nil {
		return err
	}
	if s.layout.width == 0 {
		b.keys = joinKeys(parts, func(p *rowKeys) *keys { return &p.keys })
	}
	if len(s.version) > 0 {
		b.versions = joinKeys(parts, func(p *rowKeys) *keys { return &p.versions })
	}
	switch len(s.stored) {
	case 0:
	case len(s.version):
		b.against = &b.versions
	default:
		against := joinKeys(parts, func(p *rowKeys) *keys { return &p.against })
		b.against = &against
	}
	if err := s.refuseNullKeys(ctx, nulls, o); err != nil {
		return err
	}
	s.sorted = len(nulls) == 0 && !slices.Contains(unsorted, true)
	for i := 1; i < len(shares); i++ {
		from := shares[i][0].base
		s.sorted = s.sorted && b.keys.ascend(from-1, from+1)
	}
	return nil
}

// rowKeys are the encoded keys and versions of rows.
type rowKeys struct {
	keys     keys
	versions keys
	against  keys // where only some parts of the versions are stored
}

// eachShare goes through the batches of each share, shares in parallel. take gets the share's number, a
// batch and what appends its keys and versions to a list. It gives the rows with NULL in their key.
func (s *source) eachShare(ctx context.Context, shares [][]*sourceBatch, take func(share int, b *sourceBatch, read func(*rowKeys) error) error) ([]int, error) {
	nullRows := make([][]int, len(shares))
	eg, ctx := errgroup.WithContext(ctx)
	for i, share := range shares {
		eg.Go(func() error {
			r, err := s.newKeyReader()
			if err != nil {
				return err
			}
			defer r.close()
			for _, b := range share {
				if err := take(i, b, func(dst *rowKeys) error { return r.read(ctx, b, dst) }); err != nil {
					return err
				}
			}
			nullRows[i] = r.nulls
			return nil
		})
	}
	err := eg.Wait()
	return slices.Concat(nullRows...), err
}

// keyReader encodes keys and versions of batch after batch.
type keyReader struct {
	source   *source
	key      []*partReader
	versions []*partReader
	enc      []encoder
	cols     []cursorColumn
	nulls    []int // rows with NULL in their key
}

func (s *source) newKeyReader() (*keyReader, error) {
	r := &keyReader{source: s, cols: make([]cursorColumn, len(s.key))}
	var err error
	if r.key, err = s.parts(s.key); err != nil {
		return nil, err
	}
	if r.versions, err = s.parts(s.version); err != nil {
		return nil, err
	}
	for _, p := range r.key {
		r.enc = append(r.enc, p.enc)
	}
	return r, nil
}

func (r *keyReader) close() {
	closeParts(r.key)
	closeParts(r.versions)
}

// read appends the keys and versions of a batch.
func (r *keyReader) read(ctx context.Context, b *sourceBatch, dst *rowKeys) error {
	for i, p := range r.key {
		c, err := p.read(ctx, b)
		if err != nil {
			return err
		}
		r.cols[i] = cursorColumn{col: c}
	}
	nulls := make([]bool, b.n)
	if err := r.source.layout.encode(&dst.keys, nulls, r.enc, r.cols, b.n); err != nil {
		return &Error{Kind: ErrValue, Err: err, Message: "encode the source's keys"}
	}
	for i, null := range nulls {
		if null {
			r.nulls = append(r.nulls, b.base+i)
		}
	}
	if len(r.versions) == 0 {
		return nil
	}
	return r.readVersions(ctx, b, dst)
}

func (r *keyReader) readVersions(ctx context.Context, b *sourceBatch, dst *rowKeys) error {
	s := r.source
	cols := make([]*column.Column, len(r.versions))
	for i, p := range r.versions {
		var err error
		if cols[i], err = p.read(ctx, b); err != nil {
			return err
		}
	}
	all := make([]int, len(cols))
	for i := range all {
		all[i] = i
	}
	lists := []struct {
		dst   *keys
		parts []int
	}{{&dst.versions, all}}
	if len(s.stored) > 0 && len(s.stored) < len(all) {
		lists = append(lists, struct {
			dst   *keys
			parts []int
		}{&dst.against, s.stored})
	}
	for _, l := range lists {
		for i := range b.n {
			for _, v := range l.parts {
				p := r.versions[v]
				var err error
				if l.dst.data, err = appendVersion(l.dst.data, p.keyColumn, p.enc, cols[v], i); err != nil {
					return &Error{Kind: ErrValue, Column: p.path, Err: err, Message: "at " + s.rows.position(b.base+i),
						Hint: "correct the version"}
				}
			}
			l.dst.ends = append(l.dst.ends, uint64(len(l.dst.data)))
		}
	}
	return nil
}

func (s *source) refuseNullKeys(ctx context.Context, nullRows []int, o *Options) error {
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
	}
	return s.reject(ctx, o, "null_key", nullRows)
}

func (s *source) keyTables() []int {
	out := make([]int, len(s.key))
	for i, k := range s.key {
		out[i] = k.table
	}
	return out
}

// appendVersion appends one part of a version, so that parts compare in turn. NULL is lowest.
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
