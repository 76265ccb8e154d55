package merge

import (
	"context"
	"errors"
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
)

// Content is a sum of hashes of rows: of all their values, in the table's types. It does not depend on the rows' order, nor on
// the files that they are in. Sums of one process can be compared.
type Content struct {
	Rows int64
	Sum  uint64
}

const (
	// contentBlock is how many rows, or changes, are hashed at once at most, and contentBytes about how much they take.
	contentBlock = 1 << 14
	contentBytes = 16 << 20
	// firstChanges are hashed at first, when nobody knows how large they are.
	firstChanges = 16
)

// Content is what the files that are written must hold: the rows of the old files that are not kept, less those that change or
// go, and what the changes make of them. It reads those files whole. It can be asked for until Close.
func (p *Prepared) Content(ctx context.Context) (Content, error) {
	var files []*oldFile
	for i, f := range p.old {
		if p.plans[i].Route != Keep {
			files = append(files, f)
		}
	}
	sum, err := contentOf(ctx, p.task.Schema, p.options.workers(), files)
	if err != nil {
		return Content{}, err
	}
	all := make([]int, p.task.Schema.NumFields())
	for i := range all {
		all[i] = i
	}
	changes, n := p.Changes(), firstChanges
	for list := changes.Next(n); list != nil; list = changes.Next(n) {
		columns, err := list.Columns(ctx, all)
		if err != nil {
			return Content{}, err
		}
		images := list.Images()
		rows, bytes := make([]uint64, len(images)), 1
		for i, c := range columns {
			addHashes(rows, c.Values, i)
			bytes += int(c.Values.Data().SizeInBytes())
		}
		n = max(1, min(contentBlock, 8*n, contentBytes*list.Len()/bytes))
		for i, image := range images {
			if h := finished(rows[i]); image == Preimage || image == DeleteImage {
				sum.Rows, sum.Sum = sum.Rows-1, sum.Sum-h
			} else {
				sum.Rows, sum.Sum = sum.Rows+1, sum.Sum+h
			}
		}
	}
	return sum, nil
}

// ContentOf is the content of files, as rows of a table; o.Parallel is how many row groups are read at once.
func ContentOf(ctx context.Context, table *arrow.Schema, o Options, list []Old) (sum Content, err error) {
	var files []*oldFile
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.closer.Close())
		}
	}()
	for _, old := range list {
		f, err := openOld(ctx, old, table, nil)
		if err != nil {
			return Content{}, err
		}
		files = append(files, f)
	}
	return contentOf(ctx, table, o.workers(), files)
}

func contentOf(ctx context.Context, table *arrow.Schema, workers int, files []*oldFile) (Content, error) {
	var rows atomic.Int64
	var sum atomic.Uint64
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(workers)
	for _, f := range files {
		for _, g := range f.groups {
			tasks.Go(func() error {
				c, err := g.content(ctx, table)
				rows.Add(c.Rows)
				sum.Add(c.Sum)
				return err
			})
		}
	}
	err := tasks.Wait()
	return Content{rows.Load(), sum.Load()}, err
}

// content hashes all rows of the row group, a column at a time.
func (g *rowGroup) content(ctx context.Context, table *arrow.Schema) (Content, error) {
	hashes := make([]uint64, g.rows)
	for i, field := range table.Fields() {
		if err := g.hashColumn(ctx, hashes, field, i); err != nil {
			return Content{}, g.at(g.file.wrap(err))
		}
	}
	sum := Content{Rows: g.rows}
	for _, h := range hashes {
		sum.Sum += finished(h)
	}
	return sum, nil
}

// hashColumn adds a column, in the table's type, to the hashes of the rows; NULL where the file lacks it.
func (g *rowGroup) hashColumn(ctx context.Context, hashes []uint64, field arrow.Field, table int) error {
	own := g.file.nodes[table]
	if own == nil {
		for i := range hashes {
			hashes[i] += mixed(nullHash, uint64(table)+1)
		}
		return nil
	}
	var readers []*leafReader
	bytes := int64(1)
	for _, leaf := range own.Leaves() {
		r := g.leafReader(leaf, nil)
		defer r.close()
		readers = append(readers, r)
		bytes += g.chunk(leaf).UncompressedSize
	}
	block := max(1, min(contentBlock, contentBytes*int64(len(hashes))/bytes))
	rows := make([]uint32, min(int64(len(hashes)), block))
	for from := 0; from < len(hashes); from += len(rows) {
		rows = rows[:min(len(rows), len(hashes)-from)]
		for i := range rows {
			rows[i] = uint32(from + i)
		}
		columns := make([]*column.Column, len(readers))
		for l, r := range readers {
			columns[l] = &column.Column{}
			columns[l].Reset(r.leaf)
			if err := r.append(ctx, rows, columns[l]); err != nil {
				return err
			}
		}
		arr, err := shred.Assemble(own, columns, len(rows))
		if err == nil && !arrow.TypeEqual(arr.DataType(), field.Type) {
			arr, _, err = shred.Cast(arr, field.Type, shred.CastOptions{})
		}
		if err != nil {
			return err
		}
		addHashes(hashes[from:], arr, table)
	}
	return nil
}

var (
	contentSeed   = maphash.MakeSeed()
	contentSecret = rand.Uint64() | 1
)

// mixed scatters the bits of two numbers (the multiplication of wyhash).
func mixed(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^contentSecret, b^0x9E3779B97F4A7C15)
	return hi ^ lo
}

func finished(h uint64) uint64 { return mixed(h, 0xD6E8FEB86659FD93) }

// addHashes adds the values of a column to the hashes of their rows.
func addHashes(rows []uint64, arr arrow.Array, table int) {
	values := make([]uint64, arr.Len())
	hashValues(values, arr)
	for i, h := range values {
		rows[i] += mixed(h, uint64(table)+1)
	}
}

const (
	nullHash = 0x8E2F3A6B5C1D4907
	nanHash  = 0x51ED270B6F1A9C83
)

// hashValues gives each value a hash. Values that a merge takes for equal have the same: any NaN is equal to any.
func hashValues(out []uint64, arr arrow.Array) {
	at, ok := hashOf(arr)
	for i := range out {
		switch {
		case !ok || arr.IsNull(i):
			out[i] = nullHash
		default:
			out[i] = at(i)
		}
	}
}

func hashOf(arr arrow.Array) (at func(i int) uint64, ok bool) {
	switch a := arr.(type) {
	case *array.Null:
		return nil, false
	case array.ExtensionArray:
		return hashOf(a.Storage())
	case *array.Dictionary:
		entries := make([]uint64, a.Dictionary().Len())
		hashValues(entries, a.Dictionary())
		return func(i int) uint64 { return entries[a.GetValueIndex(i)] }, true
	case *array.Struct:
		return hashFields(a), true
	case array.ListLike:
		values := make([]uint64, a.ListValues().Len())
		hashValues(values, a.ListValues())
		return func(i int) uint64 {
			from, to := a.ValueOffsets(i)
			h := uint64(to - from)
			for _, v := range values[from:to] {
				h = mixed(h, v)
			}
			return h
		}, true
	}
	return hashFlat(arr), true
}

func hashFields(a *array.Struct) func(i int) uint64 {
	fields := make([][]uint64, a.NumField())
	for f := range fields {
		fields[f] = make([]uint64, a.Len())
		hashValues(fields[f], a.Field(f))
	}
	return func(i int) uint64 {
		h := uint64(len(fields))
		for _, f := range fields {
			h = mixed(h, f[i])
		}
		return h
	}
}

func hashFlat(arr arrow.Array) func(i int) uint64 {
	text := func(s string) uint64 { return maphash.String(contentSeed, s) }
	switch a := arr.(type) {
	case *array.Boolean:
		return func(i int) uint64 {
			if a.Value(i) {
				return 1
			}
			return 2
		}
	case *array.String:
		return func(i int) uint64 { return text(a.Value(i)) }
	case *array.LargeString:
		return func(i int) uint64 { return text(a.Value(i)) }
	case *array.Binary:
		return func(i int) uint64 { return text(a.ValueString(i)) }
	case *array.LargeBinary:
		return func(i int) uint64 { return text(a.ValueString(i)) }
	case *array.Float16:
		return func(i int) uint64 { return hashNumber(uint64(a.Value(i).Uint16()), a.Value(i).IsNaN()) }
	case *array.Float32:
		return hashFixed(arr, func(i int) bool { return a.Value(i) != a.Value(i) })
	case *array.Float64:
		return hashFixed(arr, func(i int) bool { return a.Value(i) != a.Value(i) })
	}
	return hashFixed(arr, func(int) bool { return false })
}

func hashNumber(v uint64, nan bool) uint64 {
	if nan {
		return nanHash
	}
	return mixed(v, 3)
}

// hashFixed hashes values of a fixed width by their bytes.
func hashFixed(arr arrow.Array, nan func(i int) bool) func(i int) uint64 {
	if arr.Len() == 0 {
		return nil
	}
	width := arr.DataType().(arrow.FixedWidthDataType).Bytes()
	data := arr.Data().Buffers()[1].Bytes()[arr.Data().Offset()*width:]
	return func(i int) uint64 {
		if nan(i) {
			return nanHash
		}
		return maphash.Bytes(contentSeed, data[i*width:(i+1)*width])
	}
}
