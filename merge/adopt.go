package merge

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/sync/errgroup"

	input "github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
)

// adoptable finds the source's files where the merged partition will be just them: every old row goes or
// is replaced whole by a source row, each source row is in the result once and in its place, and the
// files are shaped as the old ones. Their row groups are then copied, and nothing is encoded.
func (p *Prepared) adoptable() []*splice.File {
	if len(p.old) == 0 || len(p.task.Arrivals) > 0 || p.options.Diff || p.options.Force != "" || p.options.Codec != nil || p.options.RowGroupRows != 0 || !p.replacesAll() {
		return nil
	}
	largest := p.options.TargetFileBytes
	for _, f := range p.old {
		if !f.complete() {
			return nil
		}
		largest = max(largest, f.size)
	}
	files := p.source.rows.files()
	many := len(files) > max(4, 2*len(p.old))
	for _, f := range files {
		if !adopts(p.old[0].file, f) || f.Size() > 2*largest || many && f.Size() < foldBytes {
			return nil
		}
	}
	return files
}

// replacesAll reports whether no value of an old row survives, and every source row does.
func (p *Prepared) replacesAll() bool {
	for table := range p.binding.source {
		if !p.binding.insert[table] || p.binding.keepNull[table] {
			return false
		}
	}
	if p.options.Mode == Replace {
		return true
	}
	// Rows stay sorted where they were; of files whose rows are not, nobody asks for an order. Rows whose keys differ in
	// blanks keep the old ones.
	if !p.source.sorted || p.twice || p.source.layout.hasChar() {
		return false
	}
	for _, f := range p.source.fates {
		if f != unchanged && f != inserted {
			return false
		}
	}
	for _, g := range p.groups() {
		if int64(len(g.edits)) != g.rows {
			return false
		}
	}
	return true
}

// files are the files that the batches are, whole and in order; nil where they are anything else.
func (r *rows) files() []*splice.File {
	var files []*splice.File
	group, row := 0, int64(0) // where the last file is covered up to
	for _, b := range r.batches {
		o, ok := input.OriginOf(b.Columns)
		if !ok || b.Rows != nil {
			return nil
		}
		if n := len(files); n == 0 || files[n-1] != o.File {
			if n > 0 && !atEnd(files[n-1], group, row) || o.RowGroup != 0 || o.From != 0 {
				return nil
			}
			files, group, row = append(files, o.File), 0, 0
		}
		if row == o.File.RowGroup(group).Rows {
			group, row = group+1, 0
		}
		if o.RowGroup != group || o.From != row {
			return nil
		}
		row += b.Columns.NumRows()
	}
	if n := len(files); n > 0 && !atEnd(files[n-1], group, row) {
		return nil
	}
	return files
}

func atEnd(f *splice.File, group int, row int64) bool {
	return group == f.NumRowGroups()-1 && row == f.RowGroup(group).Rows
}

// steeringKeys begin the keys of metadata by which engines read a file's columns.
var steeringKeys = []string{"org.apache.spark.", "ARROW:schema", "parquet.avro.", "writer.", splice.Int96Key}

// adopts reports whether row groups of a file can stand in for those of an old one: the same schema, read
// by the same rules, of the same codecs, in encodings that all engines know, and not in small pieces.
func adopts(old, f *splice.File) bool {
	if !splice.SameSchema(old, f) || !slices.Equal(steering(old), steering(f)) || old.NumRowGroups() == 0 {
		return false
	}
	like := old.RowGroup(old.NumRowGroups() - 1)
	for g := range f.NumRowGroups() {
		group := f.RowGroup(g)
		if g < f.NumRowGroups()-1 && group.Rows < like.Rows/4 && group.Bytes < foldBytes {
			return false
		}
		for col, c := range group.Columns {
			if c.Codec != like.Columns[col].Codec || !plainEncodings(c.Encodings) {
				return false
			}
			if _, err := f.PageIndex(g, col); err != nil { // the values may be fine, what readers make of the copy is not
				return false
			}
		}
	}
	return true
}

// steering lists the metadata that says how to read a file's columns, sorted. A legacy calendar makes
// old and new dates mean different things, so with it no file is like another.
func steering(f *splice.File) []splice.KeyValue {
	var out []splice.KeyValue
	for _, kv := range f.KeyValue() {
		if slices.ContainsFunc(steeringKeys, func(prefix string) bool { return strings.HasPrefix(kv.Key, prefix) }) {
			if strings.Contains(kv.Key, ".legacy") {
				kv.Value += f.Name()
			}
			out = append(out, kv)
		}
	}
	slices.SortFunc(out, func(a, b splice.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// plainEncodings reports whether every reader knows a chunk's encodings.
func plainEncodings(list []format.Encoding) bool {
	for _, e := range list {
		switch e {
		case format.Plain, format.PlainDictionary, format.RLE, format.BitPacked, format.RLEDictionary:
		default:
			return false
		}
	}
	return true
}

// comparePrefix are the rows by which compareRows judges columns.
const comparePrefix = 1000

// compareRows finds which updates change anything, where nobody needs to know what: the columns that are
// likeliest to differ come first, and a row that differs is not looked at again.
func (p *Prepared) compareRows(ctx context.Context, c *comparer, groups []*rowGroup) error {
	order, err := p.likeliest(ctx, c, groups[0])
	if err != nil {
		return err
	}
	return p.parallel(ctx, len(groups), func(ctx context.Context, i int) error {
		g := groups[i]
		for _, table := range order {
			if !slices.Contains(g.differs, false) {
				break
			}
			if _, err := c.compareColumn(ctx, g, table, g.edits, g.differs); err != nil {
				return err
			}
		}
		return nil
	})
}

// fewChange reports whether so few rows change that the old files serve better than the source's.
func (p *Prepared) fewChange(groups []*rowGroup) bool {
	changed, rows := int64(0), int64(0)
	for _, g := range groups {
		rows += g.rows
		changed += g.deletes
		for _, d := range g.differs {
			if d {
				changed++
			}
		}
	}
	return changed < rows/4
}

// likeliest orders the updated columns by how many of a row group's first updates they change, those that take the fewest
// bytes first. Behind one that all of them change the others hardly matter.
func (p *Prepared) likeliest(ctx context.Context, c *comparer, g *rowGroup) ([]int, error) {
	sample := g.edits[:min(len(g.edits), comparePrefix)]
	changes := make([]int, p.task.Schema.NumFields())
	order := p.cheapest(g)
	for _, table := range order {
		known := make([]bool, len(sample))
		if _, err := c.compareColumn(ctx, g, table, sample, known); err != nil {
			return nil, err
		}
		for _, k := range known {
			if k {
				changes[table]++
			}
		}
		if changes[table] == len(sample) {
			break
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return changes[b] - changes[a] })
	return order, nil
}

// cheapest orders the updated columns by their bytes in a row group.
func (p *Prepared) cheapest(g *rowGroup) []int {
	var order []int
	size := make([]int64, p.task.Schema.NumFields())
	for table, wanted := range p.binding.update {
		if !wanted {
			continue
		}
		order = append(order, table)
		if node := g.file.nodes[table]; node != nil {
			for _, leaf := range node.Leaves() {
				size[table] += g.chunk(leaf).UncompressedSize
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(size[a], size[b]) })
	return order
}

// adoptFiles copies the source's files into the partition, and meanwhile checks each page, since nobody has looked at
// most of them yet: nothing is published before both are done.
func (w *writer) adoptFiles(ctx context.Context) error {
	if len(w.adopted) == 0 {
		return nil
	}
	eg, both := errgroup.WithContext(ctx)
	eg.Go(func() error { return w.copyAdopted(ctx, both) })
	eg.Go(func() error { return w.checkAdopted(both) })
	return eg.Wait()
}

// copyAdopted copies the files as long as they are found sound.
func (w *writer) copyAdopted(ctx, sound context.Context) error {
	for _, f := range w.adopted {
		if err := sound.Err(); err != nil {
			return err
		}
		w.progress(f.Size())
		// Engines read the table's files by what the old ones say of them.
		o := splice.WriterOptions{Template: f, Schema: f.Schema(), KeyValues: w.old[0].file.KeyValue()}
		err := w.create(ctx, o, func(out *fileWriter) error {
			for g := range f.NumRowGroups() {
				if err := out.copyRowGroup(f, g); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkAdopted checks every chunk of the files that are copied.
func (w *writer) checkAdopted(ctx context.Context) error {
	type chunk struct {
		file       *splice.File
		group, col int
	}
	var chunks []chunk
	for _, f := range w.adopted {
		for g := range f.NumRowGroups() {
			for col := range f.Schema().Leaves {
				chunks = append(chunks, chunk{f, g, col})
			}
		}
	}
	return w.parallel(ctx, len(chunks), func(ctx context.Context, i int) error {
		c := chunks[i]
		return c.file.CheckSealed(ctx, c.group, c.col)
	})
}
