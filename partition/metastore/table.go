package metastore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
)

// Parameters of a table or partition that are ours.
const (
	ParamKey     = "hupsert.key"      // of a table: its key columns
	ParamOrderBy = "hupsert.order-by" // of a table: its version columns
	ParamVersion = "hupsert.version"  // of a partition: the version it is at
	ParamRun     = "hupsert.run"      // of a partition: the run that made it

	ours = "hupsert."
)

// Column is a column as the metastore has it.
type Column struct {
	Name    string // as Spark spells it, where its own schema agrees with the metastore's; else in small letters
	Type    string // in Hive's words: "decimal(10,2)"
	Comment string
}

// Format is how the files of a table or partition are read.
type Format struct{ SerDe, Input, Output string }

// Table is what is registered of a table.
type Table struct {
	Database, Name string
	Type           string // EXTERNAL_TABLE, MANAGED_TABLE, ...
	Owner          string
	Location       string // its URL
	Columns        []Column
	PartitionBy    []Column
	Parameters     map[string]string
	Format         Format

	raw *hmsapi.Table
}

// FullName is "db.table".
func (t *Table) FullName() string { return t.Database + "." + t.Name }

// Declared gives what is declared with the table under a parameter of ours: "" where nothing is.
func (t *Table) Declared(parameter string) string { return strings.TrimSpace(t.Parameters[parameter]) }

// Table reads a table: fs.ErrNotExist where there is none.
func (m *Client) Table(ctx context.Context, database, name string) (*Table, error) {
	raw, err := m.rawTable(ctx, database, name)
	if err != nil {
		return nil, err
	}
	return newTable(raw), nil
}

// rawTable reads a table as the metastore has it.
func (m *Client) rawTable(ctx context.Context, database, name string) (*hmsapi.Table, error) {
	var raw *hmsapi.Table
	err := m.call(ctx, "get the table", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		request := hmsapi.NewGetTableRequest()
		request.DbName, request.TblName = database, name
		result, err := api.GetTableReq(ctx, request)
		if err == nil {
			raw = result.Table
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, m.noTable(ctx, database, name, err)
	}
	if err != nil && strings.Contains(err.Error(), "support insert-only tables") { // it is not told of those to whom it would be news
		return nil, fault(ErrRefused, "the table is transactional (insert-only)").of(database+"."+name, "").hint(acidRemedy)
	}
	if err != nil {
		return nil, at(err, database+"."+name)
	}
	if raw == nil {
		return nil, fault(ErrSchema, "the metastore gave no table").of(database+"."+name, "")
	}
	return raw, nil
}

// noTable says that a table is not there, and what is there in its stead.
func (m *Client) noTable(ctx context.Context, database, name string, cause error) error {
	e := &Error{Err: &text{"there is no table " + database + "." + name + " in the metastore", []error{fs.ErrNotExist, cause}}}
	var tables, databases []string
	list := func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) (err error) {
		if databases, err = api.GetAllDatabases(ctx); err != nil || !slices.Contains(databases, database) {
			return err
		}
		tables, err = api.GetAllTables(ctx, database)
		return err
	}
	if m.call(ctx, "list tables", again, list) != nil {
		return e
	}
	slices.Sort(tables)
	slices.Sort(databases)
	switch {
	case !slices.Contains(databases, database):
		return e.hint("its databases: %s", firstOf(databases))
	case len(tables) == 0:
		return e.hint("database %s has no tables", database)
	}
	return e.hint("tables of %s: %s", database, firstOf(tables))
}

// firstOf lists the first of many names.
func firstOf(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("%s, ... (%d in all)", strings.Join(names[:most], ", "), len(names))
	}
	return strings.Join(names, ", ")
}

// at says of which table an error is, where it does not say it itself.
func at(err error, table string) error {
	var e *Error
	if errors.As(err, &e) && e.Table == "" {
		e.Table = table
	}
	return err
}

func newTable(raw *hmsapi.Table) *Table {
	t := &Table{
		Database: raw.GetDbName(), Name: raw.GetTableName(), Type: raw.GetTableType(), Owner: raw.GetOwner(),
		Parameters: raw.Parameters, PartitionBy: columnsOf(raw.PartitionKeys), raw: raw,
	}
	if t.Parameters == nil {
		t.Parameters = map[string]string{}
	}
	sd := some(raw.Sd)
	t.Location, t.Columns, t.Format = sd.GetLocation(), columnsOf(sd.Cols), formatOf(sd)
	t.spellAsSpark()
	return t
}

func columnsOf(fields []*hmsapi.FieldSchema) []Column {
	out := make([]Column, len(fields))
	for i, f := range fields {
		out[i] = Column{f.GetName(), f.GetType(), f.GetComment()}
	}
	return out
}

func formatOf(sd *hmsapi.StorageDescriptor) Format {
	sd = some(sd)
	return Format{some(sd.SerdeInfo).GetSerializationLib(), sd.GetInputFormat(), sd.GetOutputFormat()}
}

// some is a part of what is registered, or an empty one where a metastore has none: the getters of the generated code can't do
// without.
func some[T any](part *T) *T {
	if part == nil {
		return new(T)
	}
	return part
}

// skewedBy are the columns that a table or partition is skewed by.
func skewedBy(sd *hmsapi.StorageDescriptor) []string { return some(some(sd).SkewedInfo).SkewedColNames }

// Schema is the table's columns, without those it is partitioned by, in the words of partition.ParseSchema.
func (t *Table) Schema() (string, error) {
	text, err := Declaration(t.Columns)
	return text, at(err, t.FullName())
}

// PartitionSchema is the columns that the table is partitioned by, in the words of partition.ParseSchema; "" without any.
func (t *Table) PartitionSchema() (string, error) {
	text, err := Declaration(t.PartitionBy)
	return text, at(err, t.FullName())
}

// Storage is the beginning of the URL of a table's folder, as its location has it, and the folder's path there:
// "hdfs://nn:8020" and "/warehouse/orders".
func (t *Table) Storage() (storage, folder string) {
	p := parsePlace(t.Location)
	return p.prefix, p.path
}

// ByPosition reports whether Hive takes the files' columns by their place, and not by name (parquet.column.index.access).
func (t *Table) ByPosition() bool {
	const parameter = "parquet.column.index.access"
	return isTrue(t.Parameters[parameter]) || isTrue(some(some(t.raw.Sd).SerdeInfo).Parameters[parameter])
}
