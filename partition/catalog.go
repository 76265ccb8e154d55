package partition

import (
	"context"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/storage/swap"
)

// catalog is a metastore's table: what it has beyond folders. Its answers are of the moment.
type catalog interface {
	swap.Registry
	// Describe reads the table anew.
	Describe(ctx context.Context) (catalogTable, error)
	// Names lists the registered partitions by name; a table without partition columns is one, "".
	Names(ctx context.Context) ([]string, error)
	// Partitions gives what is registered of partitions; those that are not registered are left out.
	Partitions(ctx context.Context, names []string) ([]catalogPartition, error)
	// AddColumns appends columns that the table lacks, and gives the partitions named its columns, where they have older ones.
	// It says how the stamps of those that are registered changed.
	AddColumns(ctx context.Context, columns []catalogColumn, partitions []string) (map[string]swap.Restamp, error)
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

// catalogColumn is a column, its type in the words of ParseSchema or of the catalog.
type catalogColumn struct{ Name, Type string }

// behindColumn is a column that a partition's own list has not as the table has it.
type behindColumn struct {
	Name string
	Type string // of the table's
	Own  string // in the partition's list, the same where only the place is another; "": it is not there
}

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
	// Behind are columns of the table that the partition's own list of columns lacks, or has in another type or place: readers
	// that go by that list see NULL there, fail, or take another column for it, whatever the files hold.
	Behind []behindColumn
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
	c, err := d.config()
	if err != nil {
		return c, fault(ErrUsage, "%s declares what can't be: %v", t.url, err).hint("correct the table in the metastore")
	}
	return c, nil
}

// config is a catalog's table in the words of table.yaml.
func (d catalogTable) config() (TableConfig, error) {
	c := TableConfig{Key: splitList(d.Properties[propertyKey]), OrderBy: splitList(d.Properties[propertyOrderBy]),
		KeepHistory: d.Properties[propertyKeep], Schema: d.Schema}
	if d.PartitionBy != "" {
		columns, err := ParseSchema(d.PartitionBy)
		if err != nil {
			return c, err
		}
		for _, f := range columns.Fields() {
			if f.Type.ID() == arrow.TIMESTAMP {
				f.Type = &arrow.TimestampType{Unit: arrow.Microsecond} // names hold times without a zone
			}
			// Names of partitions are in small letters, however Spark spells the column.
			c.PartitionBy = append(c.PartitionBy, formatColumn(Column{Name: strings.ToLower(f.Name), Type: f.Type}))
		}
	}
	return c, c.validate()
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

// declareColumns makes the metastore know columns before any file has them: in the table, and in the partitions that are about to be
// published, whose own lists of columns become the table's.
func (t *Table) declareColumns(ctx context.Context, d declaration, partitions []string) (map[string]swap.Restamp, error) {
	var columns []catalogColumn
	if d.Added != "" {
		schema, err := ParseSchema(d.Added)
		if err != nil {
			return nil, err
		}
		for _, f := range schema.Fields() {
			columns = append(columns, catalogColumn{Name: f.Name, Type: fieldType(f)})
		}
	}
	return t.catalog.AddColumns(ctx, columns, partitions)
}

// stillDeclared checks, right before a publish, that the metastore has the columns that were merged by: what is changed later
// the publish itself finds.
func (r *run) stillDeclared(ctx context.Context) error {
	if r.catalog == nil {
		return nil
	}
	d, err := r.catalog.Describe(ctx)
	if err != nil {
		return err
	}
	now, err := d.config()
	if err != nil || now.Schema != r.config.Schema || !slices.Equal(now.PartitionBy, r.config.PartitionBy) || d.ByPosition != r.byPosition {
		return fault(ErrConflict, "the table's columns were changed in the metastore meanwhile").hint("run again")
	}
	return nil
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
	if err := r.knowsDeclared(); err != nil {
		return err
	}
	return r.layout.lookTable(ctx, r.fsys, r.root)
}

// knowsDeclared checks that the columns that the table's properties name are there: a property is set by others as well.
func (r *run) knowsDeclared() error {
	schema, err := ParseSchema(r.config.Schema)
	if err != nil {
		return err
	}
	schema = withPartitions(schema, r.layout.columns)
	for _, property := range []struct {
		name    string
		columns []string
	}{{propertyKey, r.config.Key}, {propertyOrderBy, r.config.OrderBy}} {
		for _, column := range property.columns {
			column, _, _ = strings.Cut(column, ":")
			if !hasPath(schema, column) {
				return fault(ErrUsage, "the property %s of the table names a column that it has not", property.name).column(column).
					hint("its columns: %s; hupsert config %s --set %s=COLS corrects it", fieldNames(schema), ShellQuote(r.url), strings.TrimPrefix(property.name, "hupsert."))
			}
		}
	}
	return nil
}

// refuseCreate refuses what only a table without a metastore can be told.
func refuseCreate(o *Options, url string) error {
	if !o.Create {
		return nil
	}
	return fault(ErrUsage, "--create: tables of a metastore are made there").hint("CREATE EXTERNAL TABLE ... STORED AS PARQUET in Hive or Spark, then hupsert upsert %s", ShellQuote(url))
}

// registeredElsewhere is the error of a table that is opened by its path and published by a metastore.
func registeredElsewhere(err error) error {
	return &Error{Kind: KindUsage, Err: both{err, ErrUsage},
		Hint: "its folders hold old versions; name the table as the metastore has it"}
}
