package merge

import (
	"cmp"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go/format"

	input "github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
)

// kind is files whose row groups can stand in one file: they have the same schema, and are read by the same rules.
type kind struct {
	files []*oldFile
	stale map[*rowGroup][]int // columns whose dictionary is mostly unused

	groupRows int64
	picked    []*oldFile // to be written anew
	drops     bool       // the picked ones have no row, and nothing is written for them
	template  *oldFile   // whose footer the new files get
	like      *rowGroup  // of it, as which chunks are encoded
	codecs    []format.CompressionCodec
	stream    []bundle // the rows of the picked ones, in the order of the new files
	units     []unitPlan
	copied    map[*rowGroup]bool

	// What is mended.
	small, split, staleN int
	lost                 int64 // rows out of key order
	inOrder              bool  // rows are in key order, but for those
	ranges               map[*rowGroup][]*keyRange
	sorted               bool // the new files are
	readers              int  // chunks that are read side by side
}

// pick has a file written anew.
func (k *kind) pick(f *oldFile) {
	if !slices.Contains(k.picked, f) {
		k.picked = append(k.picked, f)
	}
}

// kindsOf divides files into those that can be joined.
func kindsOf(files []*oldFile) (out []*kind) {
	for _, f := range files {
		at := slices.IndexFunc(out, func(k *kind) bool { return joinable(k.files[0].file, f.file) })
		if at < 0 {
			at, out = len(out), append(out, &kind{stale: map[*rowGroup][]int{}, copied: map[*rowGroup]bool{}})
		}
		out[at].files = append(out[at].files, f)
	}
	return out
}

// unreadable says why a file can only be kept; "": it can be read.
func unreadable(f *splice.File) string {
	for g := range f.NumRowGroups() {
		for _, c := range f.RowGroup(g).Columns {
			if c.Codec == format.LZO {
				return "its codec LZO can't be read"
			}
		}
	}
	return ""
}

// joinable reports whether values of one file mean the same in the other.
func joinable(a, b *splice.File) bool {
	return splice.SameSchema(a, b) && slices.Equal(reading(a), reading(b))
}

const sparkVersionKey = "org.apache.spark.version"

// reading lists what says how to read a file's columns. The version of Spark says it only where it counts days otherwise, and
// who wrote a file only where it has INT96: readers move these by the time zone for some writers.
func reading(f *splice.File) []splice.KeyValue {
	julian := input.CalendarOf(f).Julian()
	var out []splice.KeyValue
	for _, kv := range f.KeyValue() {
		steers := slices.ContainsFunc(steeringKeys, func(prefix string) bool { return strings.HasPrefix(kv.Key, prefix) })
		if steers && (julian || kv.Key != sparkVersionKey) {
			out = append(out, kv)
		}
	}
	for _, leaf := range f.Schema().Leaves {
		if leaf.Type == format.Int96 {
			out = append(out, splice.KeyValue{Key: "created_by", Value: f.CreatedBy()})
			break
		}
	}
	slices.SortFunc(out, func(a, b splice.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// bundle is rows that follow each other in the new files: a row group of an old one, or rows of several that are merged by key.
type bundle struct {
	whole  *rowGroup // nil: they are merged
	ranges []*keyRange
	rows   int64
	bytes  int64
}

// unitPlan is a row group of a new file: an old one, of which all chunks but some are copied, or the next so many rows.
type unitPlan struct {
	group       *rowGroup // nil: rows are encoded
	rows        int64
	first, last int // bundles of which rows are encoded
}

func wholeBundle(g *rowGroup) bundle {
	return bundle{whole: g, ranges: []*keyRange{{group: g, to: g.rows}}, rows: g.rows, bytes: g.bytes()}
}

func (k *kind) bundles(files []*oldFile) (out []bundle) {
	for _, f := range files {
		for _, g := range f.groups {
			out = append(out, wholeBundle(g))
		}
	}
	return out
}

// smallGroup reports whether so many rows are better joined with others.
func (k *kind) smallGroup(rows, bytes int64) bool {
	return rows < (k.groupRows+1)/2 && bytes < smallGroupBytes
}

// copies reports whether a row group can stand as it is in a file of the template: it was written by the same program, whose
// mistakes readers know by its name, and with the codecs of the others, since some readers take the first row group's for all.
func (k *kind) copies(g *rowGroup) bool {
	if k.template == nil {
		return true
	}
	for i, c := range g.file.file.RowGroup(g.ordinal).Columns {
		if c.Codec != k.codecs[i] {
			return false
		}
	}
	return g.file.file.CreatedBy() == k.template.file.CreatedBy()
}

// follow takes the largest file as the example for the others.
func (k *kind) follow(codec *format.CompressionCodec) {
	k.template = slices.MaxFunc(k.picked, func(a, b *oldFile) int {
		return cmp.Or(cmp.Compare(min(1, a.file.NumRows()), min(1, b.file.NumRows())), cmp.Compare(a.size, b.size))
	})
	k.like = slices.MaxFunc(k.template.groups, func(a, b *rowGroup) int { return cmp.Compare(a.rows, b.rows) })
	k.codecs = nil
	for _, c := range k.template.file.RowGroup(k.like.ordinal).Columns {
		if codec != nil {
			c.Codec = *codec
		}
		k.codecs = append(k.codecs, c.Codec)
	}
}

// plan divides bundles into row groups. Large ones that are whole stay whole; what lies between is cut at groupRows, and what is too
// little for a row group of its own takes the next one in.
func (k *kind) plan(bundles []bundle) []unitPlan {
	p := planner{kind: k}
	for i, bundle := range bundles {
		p.at = i
		switch {
		case bundle.rows == 0:
		case bundle.whole != nil && !k.smallGroup(bundle.rows, bundle.bytes):
			p.large(bundle)
		default:
			p.add(bundle)
		}
	}
	p.flush()
	return p.units
}

type planner struct {
	*kind
	units       []unitPlan
	rows, bytes int64     // that wait
	only        *rowGroup // they are all of it and nothing else
	first, last int       // bundles they are of
	at          int       // the bundle at hand
}

// large takes a row group that may stay as it is.
func (p *planner) large(next bundle) {
	switch {
	case p.rows > 0 && p.smallGroup(p.rows, p.bytes):
		p.rows, p.only, p.last = p.rows+next.rows, nil, p.at
		p.flush()
		return
	case p.rows > 0:
		p.flush()
	}
	if p.copies(next.whole) {
		p.units = append(p.units, unitPlan{group: next.whole, rows: next.rows})
	} else {
		p.first, p.last = p.at, p.at
		p.encode(next.rows)
	}
}

// add takes rows that are joined with others.
func (p *planner) add(next bundle) {
	if p.rows > 0 && p.rows+next.rows > p.groupRows && !p.smallGroup(p.rows, p.bytes) {
		p.flush()
	}
	p.only = nil
	if p.rows == 0 {
		p.only, p.first = next.whole, p.at
	}
	p.last = p.at
	p.rows, p.bytes = p.rows+next.rows, p.bytes+next.bytes
}

// flush ends a row group with what waits, or as many of about the same size as it makes.
func (p *planner) flush() {
	switch {
	case p.rows == 0:
	case p.only != nil && p.copies(p.only):
		p.units = append(p.units, unitPlan{group: p.only, rows: p.rows})
	default:
		for n := (p.rows + p.groupRows - 1) / p.groupRows; n > 0; n-- {
			rows := (p.rows + n - 1) / n
			p.encode(rows)
			p.rows -= rows
		}
	}
	p.rows, p.bytes, p.only = 0, 0, nil
}

func (p *planner) encode(rows int64) {
	p.units = append(p.units, unitPlan{rows: rows, first: p.first, last: p.last})
}

// settle plans the row groups of what is picked.
func (k *kind) settle(codec *format.CompressionCodec) {
	if len(k.picked) == 0 {
		return
	}
	k.follow(codec)
	for again := true; again; {
		k.stream = k.bundles(k.picked)
		if k.inOrder {
			k.sort()
		}
		k.units = k.plan(k.stream)
		again = k.pickBetween()
	}
	for _, u := range k.units {
		if u.group != nil {
			k.copied[u.group] = true
		}
	}
}

// staleIn reports whether a dictionary of the file is mostly unused values.
func (k *kind) staleIn(f *oldFile) bool {
	return slices.ContainsFunc(f.groups, func(g *rowGroup) bool { return len(k.stale[g]) > 0 })
}

// planFile says what becomes of a file that is picked.
func (k *kind) planFile(f *oldFile) *FilePlan {
	plan := &FilePlan{Name: f.Name, Route: Copy, Bytes: f.size}
	if f.file.NumRows() == 0 {
		plan.Route = Drop
		return plan
	}
	var all []string
	for _, node := range f.file.Schema().Root.Children {
		all = append(all, node.Name)
	}
	for _, g := range f.groups {
		group := RowGroupPlan{Route: Copy, Rows: g.rows, Copied: g.bytes()}
		stale := k.stale[g]
		switch {
		case !k.copied[g]:
			group = RowGroupPlan{Route: Rewrite, Rows: g.rows, Encoded: g.bytes(), Encodes: all, Why: "its rows join others"}
		case len(stale) > 0:
			group.Route, group.Why = Rewrite, "most of the dictionary is unused"
			group.Changed = []string{}
			for _, col := range stale {
				size := f.file.RowGroup(g.ordinal).Columns[col].CompressedSize
				group.Copied, group.Encoded = group.Copied-size, group.Encoded+size
				name := f.file.Schema().Leaves[col].Path[0]
				if !slices.Contains(group.Changed, name) {
					group.Changed = append(group.Changed, name)
				}
			}
			group.Encodes = group.Changed
		}
		if group.Route == Rewrite {
			plan.Route = Rewrite
		}
		plan.RowGroups = append(plan.RowGroups, group)
	}
	return plan
}
