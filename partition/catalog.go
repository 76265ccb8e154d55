package partition

import (
	"context"
	"fmt"
	"maps"
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

// catalogColumn is a column, its type in the words of ParseSchema or of the catalog.
type catalogColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
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
	// Lacks are columns of the table that the partition's own list of columns has not: readers that go by that list
	// see NULL there, whatever the files hold.
	Lacks []catalogColumn
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

// declareColumns makes the metastore know columns before any file has them: in the table, and in the partitions whose own lists
// of columns lack them.
func (t *Table) declareColumns(ctx context.Context, d declaration) error {
	if d.Added != "" {
		schema, err := ParseSchema(d.Added)
		if err != nil {
			return err
		}
		var columns []catalogColumn
		for _, f := range schema.Fields() {
			columns = append(columns, catalogColumn{Name: f.Name, Type: fieldType(f)})
		}
		if err := t.catalog.AddColumns(ctx, columns, d.Partitions); err != nil {
			return err
		}
	}
	alike := map[string][]string{} // partitions that lack the same
	for _, p := range sortedNames(d.Behind) {
		key := fmt.Sprint(d.Behind[p])
		alike[key] = append(alike[key], p)
	}
	for _, key := range sortedNames(alike) {
		if err := t.catalog.AddColumns(ctx, d.Behind[alike[key][0]], alike[key]); err != nil {
			return err
		}
	}
	return nil
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

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
			head, _, _ := strings.Cut(column, ".")
			if len(foldIndices(schema, column)) == 0 && len(foldIndices(schema, head)) == 0 {
				return fault(ErrUsage, "the property %s of the table names a column that it has not", property.name).column(column).
					hint("its columns: %s; hupsert config %s --set %s=COLS corrects it", fieldNames(schema), r.url, strings.TrimPrefix(property.name, "hupsert."))
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
	return fault(ErrUsage, "--create: tables of a metastore are made there").hint("CREATE EXTERNAL TABLE ... STORED AS PARQUET in Hive or Spark, then hupsert upsert %s", url)
}

// registeredElsewhere is the error of a table that is opened by its path and published by a metastore.
func registeredElsewhere(err error) error {
	return &Error{Kind: KindUsage, Err: both{err, ErrUsage},
		Hint: "its folders hold old versions; name the table as the metastore has it"}
}
