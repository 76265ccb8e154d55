package partition

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"sort"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/swap"
)

// catalog is a metastore's table: what it has beyond folders. Its answers are of the moment.
type catalog interface {
	swap.Registry
	// Describe reads the table anew.
	Describe(ctx context.Context) (catalogTable, error)
	// Partitions lists the registered partitions, by name.
	Partitions(ctx context.Context) ([]catalogPartition, error)
	// AddColumns appends columns that the table lacks, and to the partitions named.
	AddColumns(ctx context.Context, columns []catalogColumn, partitions []string) error
	// SetProperties sets table properties; an empty value removes one.
	SetProperties(ctx context.Context, set map[string]string) error
	// Close ends what connects us.
	Close() error
}

// catalogTable is a table as a metastore has it.
type catalogTable struct {
	Schema      string // as ParseSchema reads it, without the partition columns
	PartitionBy string // the partition columns, in the same words
	Properties  map[string]string
	ByPosition  bool // readers take columns by their place, not by name
}

// catalogColumn is a column in the words of ParseSchema.
type catalogColumn struct{ Name, Type string }

// catalogPartition is one registered partition.
type catalogPartition struct {
	Name   string // "dt=2026-11-20/region=kr", as registered
	Folder string // on the table's storage; "" where it lies elsewhere
	// Location is its folder's URL as registered.
	Location string
	// Refusal says why the partition is not one to be changed; nil where it is.
	Refusal error
	// Properties are its parameters: numRows, totalSize, numFiles.
	Properties map[string]string
}

// Table properties that declare what table.yaml declares elsewhere.
const (
	propertyKey     = "hupsert.key"
	propertyOrderBy = "hupsert.order-by"
	propertyKeep    = "hupsert.keep-history"
)

// properties are the settings of `config` as properties of a metastore's table.
var properties = map[string]string{"key": propertyKey, "order-by": propertyOrderBy, "keep-history": propertyKeep}

// catalogConfig is what a metastore declares with the table.
func (t *Table) catalogConfig(ctx context.Context) (TableConfig, error) {
	d, err := t.catalog.Describe(ctx)
	if err != nil {
		return TableConfig{}, err
	}
	c := TableConfig{Key: splitList(d.Properties[propertyKey]), OrderBy: splitList(d.Properties[propertyOrderBy]),
		KeepHistory: d.Properties[propertyKeep], Schema: d.Schema}
	if d.PartitionBy != "" {
		columns, err := ParseSchema(d.PartitionBy)
		if err != nil {
			return c, err
		}
		for _, f := range columns.Fields() {
			c.PartitionBy = append(c.PartitionBy, formatColumn(Column{Name: f.Name, Type: f.Type}))
		}
	}
	if err := c.validate(); err != nil {
		return c, fault(ErrUsage, "%s declares what can't be: %v", t.url, err).hint("correct the table in the metastore")
	}
	return c, nil
}

// setProperties is SetConfig for a metastore's table: the schema and the partition columns are the metastore's own.
func (t *Table) setProperties(ctx context.Context, set map[string]string) error {
	values := map[string]string{}
	for name, value := range set {
		values[properties[name]] = value
	}
	return t.catalog.SetProperties(ctx, values)
}

// onlyProperties refuses settings that a metastore has words of its own for.
func onlyProperties(set map[string]string) error {
	for _, name := range sortedKeys(set) {
		if properties[name] == "" {
			return fault(ErrUsage, "%s is what the metastore says of the table", name).hint("change it there: ALTER TABLE")
		}
	}
	return nil
}

// catalogLayout is the layout of a table whose partitions are those that a metastore has registered.
func (t *Table) catalogLayout(ctx context.Context, declared []Column) (*layout, error) {
	l := &layout{exists: true, columns: declared, unlooked: true, dirs: map[string]string{}}
	list, err := t.catalog.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	for _, p := range list {
		leaf := leaf{path: p.Name, properties: p.Properties}
		if p.Name != "" {
			if leaf.spec, err = ParsePath(p.Name); err != nil {
				return nil, err
			}
		}
		if p.Refusal != nil {
			l.refused = append(l.refused, p)
		}
		l.leaves = append(l.leaves, leaf)
		l.dirs[p.Name] = p.Folder
	}
	l.index()
	return l, nil
}

// publishable refuses partitions that a run touches and that can't be published: those that the catalog refuses, such
// as on another storage, and those that share a folder with another one.
func (l *layout) publishable(partitions []string) error {
	touched := map[string]bool{}
	for _, p := range partitions {
		touched[p] = true
	}
	for _, p := range l.refused {
		if touched[p.Name] {
			return locate(p.Refusal, p.Name, StepList)
		}
	}
	if l.dirs == nil {
		return nil
	}
	by := map[string]string{}
	for _, leaf := range l.leaves {
		dir := l.dirs[leaf.path]
		other, shared := by[dir]
		if by[dir] = leaf.path; shared && dir != "" && (touched[leaf.path] || touched[other]) {
			return locate(fault(ErrLayout, "%s has the same location, %s", other, dir).
				hint("each row there is a row of both; give one of them a folder of its own"), leaf.path, StepList)
		}
	}
	return nil
}

// readable settles the columns of a partition whose files are there, where a metastore says what readers take them
// for: the files' columns and those that they lack, in the types that hold both. What readers could not read is an error.
func readable(files, declared *arrow.Schema, byPosition bool) (*arrow.Schema, error) {
	fields := append([]arrow.Field(nil), files.Fields()...)
	for i, d := range declared.Fields() {
		at, err := foldIndex(files, d.Name)
		switch {
		case err != nil:
			return nil, err
		case at < 0:
			d.Nullable = true
			fields = append(fields, d)
			continue
		case byPosition && at != i:
			return nil, fault(ErrSchema, "column %d of the files, and number %d in the metastore, where parquet.column.index.access is set", at+1, i+1).column(d.Name).
				hint("take the property back, so that readers go by name, or write the files anew")
		}
		if !fits(files.Field(at).Type, d.Type) {
			return nil, fault(ErrSchema, "the files have it as %s and the metastore as %s, which readers can't read", TypeName(files.Field(at).Type), fieldType(d)).column(d.Name).
				hint("correct the type in the metastore, or write the partition anew")
		}
		if wide, err := wider(files.Field(at).Type, d.Type); err == nil {
			fields[at].Type = wide
		}
	}
	return withLengths(arrow.NewSchema(fields, nil), declared), nil
}

// fits reports whether readers that are told a type can read files that have a column in another one.
func fits(file, told arrow.DataType) bool {
	if arrow.TypeEqual(file, told) {
		return true
	}
	if bits, signed, ok := integer(file); ok && signed {
		wide, wideSigned, ok := integer(told)
		// Parquet stores the small ones as INT32, and not every writer annotates them.
		return ok && wideSigned && (wide >= bits || bits == 32)
	}
	switch file.ID() {
	case arrow.FLOAT32:
		return told.ID() == arrow.FLOAT64
	case arrow.BINARY, arrow.STRING:
		return told.ID() == arrow.STRING || told.ID() == arrow.BINARY
	case arrow.TIMESTAMP:
		return told.ID() == arrow.TIMESTAMP
	case arrow.DECIMAL128:
		from, to := file.(*arrow.Decimal128Type), arrow.DataType(nil)
		to = told
		d, ok := to.(*arrow.Decimal128Type)
		return ok && d.Scale == from.Scale && d.Precision >= from.Precision
	case arrow.LIST, arrow.MAP, arrow.STRUCT:
		return file.ID() == told.ID() // what is in them is compared where values are written
	}
	return false
}

// addColumns makes the metastore know columns before any file has them.
func (t *Table) addColumns(ctx context.Context, added string, partitions []string) error {
	schema, err := ParseSchema(added)
	if err != nil {
		return err
	}
	var columns []catalogColumn
	for _, f := range schema.Fields() {
		columns = append(columns, catalogColumn{Name: f.Name, Type: fieldType(f)})
	}
	return t.catalog.AddColumns(ctx, columns, partitions)
}

// settleCatalog looks at what a run must know of a metastore's table beyond its partitions.
func (r *run) settleCatalog(ctx context.Context) error {
	if err := refuseCreate(&r.options, r.url); err != nil {
		return err
	}
	d, err := r.catalog.Describe(ctx)
	if err != nil {
		return err
	}
	r.byPosition = d.ByPosition
	return r.layout.lookTable(ctx, r.fsys, r.root)
}

// refuseCreate refuses what only a table without a metastore can be told.
func refuseCreate(o *Options, url string) error {
	if !o.Create {
		return nil
	}
	return fault(ErrUsage, "--create: tables of a metastore are made there").hint("CREATE EXTERNAL TABLE ... STORED AS PARQUET in Hive or Spark, then hupsert upsert %s", url)
}

// registeredElsewhere is the error of a table that is opened by its path and published by a metastore.
func registeredElsewhere(err error) error {
	return &Error{Kind: KindUsage, Err: both{err, ErrUsage},
		Hint: "its folders hold old versions; name the table as the metastore has it"}
}

// lookTable looks at a registered table's own folder, where other writers may have temporary folders.
func (l *layout) lookTable(ctx context.Context, fsys storage.FS, root string) error {
	w := &walker{fsys: fsys, root: root, layout: l}
	_, _, err := w.list(ctx, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its partitions may lie anywhere
	}
	return err
}

// dir is the folder of a partition, root being the table's.
func (l *layout) dir(root, partition string) string {
	if dir, ok := l.dirs[partition]; ok {
		return dir
	}
	return path.Join(root, partition)
}
