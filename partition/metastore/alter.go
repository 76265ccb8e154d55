package metastore

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
)

// AddColumns adds columns to a table, last, and to the partitions named, in whose own lists they are missing. What is there already,
// with the same type, stays; with another type it is ErrSchema, and nothing is changed. Doing it twice does no harm. The table
// is changed before its partitions: who comes between reads NULL.
func (m *Client) AddColumns(ctx context.Context, database, table string, columns []Column, partitions []string) error {
	name := database + "." + table
	raw, err := m.rawTable(ctx, database, table)
	if err != nil {
		return err
	}
	raw.Sd = some(raw.Sd)
	columns = slices.Clone(columns)
	for i, c := range columns {
		t, err := parseType(c.Type)
		if err != nil {
			return at(schemaFault(c.Name, err), name)
		}
		columns[i].Type = t.hive()
	}
	for _, c := range columns {
		for _, key := range raw.PartitionKeys {
			if strings.EqualFold(key.GetName(), c.Name) {
				return fault(ErrSchema, "the table is partitioned by it").of(name, "").column(c.Name)
			}
		}
	}
	missing, err := missingColumns(raw.Sd, columns)
	if err != nil {
		return at(err, name)
	}
	// All is known to fit before anything is changed.
	list, err := m.Partitions(ctx, newTable(raw), partitions)
	if err != nil {
		return err
	}
	var behind []*hmsapi.Partition
	for _, p := range list {
		p.raw.Sd = some(p.raw.Sd)
		lacks, err := missingColumns(p.raw.Sd, columns)
		if err != nil {
			var e *Error
			if errors.As(err, &e) {
				e.Table, e.Partition = name, p.Name
			}
			return err
		}
		if len(lacks) > 0 {
			p.raw.Sd.Cols = append(p.raw.Sd.Cols, fields(lacks)...)
			behind = append(behind, p.raw)
		}
	}
	if len(missing) > 0 {
		if err := m.addToTable(ctx, raw, missing); err != nil {
			return err
		}
	}
	if len(behind) == 0 {
		return nil
	}
	return at(m.callFor(ctx, m.forMany(len(behind)), "alter partitions", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		return api.AlterPartitionsWithEnvironmentContext(ctx, database, table, behind, environment())
	}), name)
}

// addToTable adds columns to a table's own list, and to Spark's.
func (m *Client) addToTable(ctx context.Context, raw *hmsapi.Table, columns []Column) error {
	name := raw.GetDbName() + "." + raw.GetTableName()
	raw.Sd.Cols = append(raw.Sd.Cols, fields(columns)...)
	spark, err := sparkSchemaOf(raw.Parameters)
	if err != nil {
		return fault(ErrSchema, "%v", err).of(name, "").hint("ALTER TABLE ... ADD COLUMNS in Spark, which has made the table")
	}
	if spark != nil {
		if err := spark.add(columns, len(raw.PartitionKeys)); err != nil {
			return fault(ErrSchema, "%v", err).of(name, "")
		}
		if err := spark.store(raw.Parameters); err != nil {
			return err
		}
	}
	return m.alterTable(ctx, raw)
}

// missingColumns are those that a list has not; one that it has with another type is an error.
func missingColumns(sd *hmsapi.StorageDescriptor, columns []Column) ([]Column, error) {
	have := make(map[string]string)
	for _, c := range some(sd).Cols {
		have[strings.ToLower(c.GetName())] = c.GetType()
	}
	var out []Column
	for _, c := range columns {
		is, ok := have[strings.ToLower(c.Name)]
		if !ok {
			out = append(out, c)
			continue
		}
		was, err := parseType(is)
		want, wantErr := parseType(c.Type)
		if err != nil || wantErr != nil || !was.same(want) {
			return nil, fault(ErrSchema, "it is there as %s, and not as %s", is, c.Type).column(c.Name).hint("ALTER TABLE ... CHANGE COLUMN changes a type")
		}
	}
	return out, nil
}

// fields writes columns as the metastore has them: names in small letters.
func fields(columns []Column) []*hmsapi.FieldSchema {
	out := make([]*hmsapi.FieldSchema, len(columns))
	for i, c := range columns {
		out[i] = &hmsapi.FieldSchema{Name: pointer(strings.ToLower(c.Name)), Type: pointer(c.Type)}
		if c.Comment != "" {
			out[i].Comment = pointer(c.Comment)
		}
	}
	return out
}

// SetParameters sets parameters of a table; "" takes one away. Others stay.
func (m *Client) SetParameters(ctx context.Context, database, table string, set map[string]string) error {
	raw, err := m.rawTable(ctx, database, table)
	if err != nil {
		return err
	}
	now := maps.Clone(raw.Parameters)
	if now == nil {
		now = make(map[string]string)
	}
	for name, v := range set {
		if v == "" {
			delete(now, name)
		} else {
			now[name] = v
		}
	}
	if maps.Equal(now, raw.Parameters) {
		return nil
	}
	raw.Parameters = now
	return m.alterTable(ctx, raw)
}

// CreateDatabase makes a database at a location; "" is the metastore's choice. One that is there is fs.ErrExist.
func (m *Client) CreateDatabase(ctx context.Context, name, location string) error {
	d := hmsapi.NewDatabase()
	d.Name = &name
	if location != "" {
		d.LocationUri = &location
	}
	return m.call(ctx, "create database "+name, once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		return api.CreateDatabase(ctx, d)
	})
}

// DropDatabase takes a database away, with what is registered in it, and leaves all files.
func (m *Client) DropDatabase(ctx context.Context, name string) error {
	return m.call(ctx, "drop database "+name, once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		return api.DropDatabase(ctx, name, false, true)
	})
}

// NewTable says what CreateTable makes: an external table of Parquet files.
type NewTable struct {
	Database, Name string
	Location       string
	Columns        []Column
	PartitionBy    []Column
	Parameters     map[string]string

	// What makes a table one that hupsert refuses, for tests.
	Type     string // "": EXTERNAL_TABLE
	Format   Format // the zero value: Parquet
	BucketBy []string
	SkewedBy []string
}

// CreateTable makes an external Parquet table over a folder. One that is there is fs.ErrExist.
func (m *Client) CreateTable(ctx context.Context, n NewTable) error {
	now := int32(m.c.Clock().Unix())
	t := hmsapi.NewTable()
	t.DbName, t.TableName, t.TableType, t.CreateTime = &n.Database, &n.Name, pointer("EXTERNAL_TABLE"), &now
	if m.c.User != "" {
		t.Owner = &m.c.User
	}
	t.PartitionKeys = fields(n.PartitionBy)
	t.Parameters = map[string]string{}
	if n.Type == "" {
		t.Parameters["EXTERNAL"] = "TRUE"
	}
	maps.Copy(t.Parameters, n.Parameters)
	t.Sd = &hmsapi.StorageDescriptor{
		Cols: fields(n.Columns), Location: &n.Location,
		InputFormat:  pointer("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"),
		OutputFormat: pointer("org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"),
		NumBuckets:   pointer(int32(-1)),
		SerdeInfo: &hmsapi.SerDeInfo{
			SerializationLib: pointer("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"),
			Parameters:       map[string]string{"serialization.format": "1"},
		},
		BucketCols: []string{}, SortCols: []*hmsapi.Order{}, Parameters: map[string]string{},
	}
	n.oddities(t)
	return at(m.call(ctx, "create the table", once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		return api.CreateTable(ctx, t)
	}), n.Database+"."+n.Name)
}

// oddities are what is not of a plain table.
func (n NewTable) oddities(t *hmsapi.Table) {
	if n.Type != "" {
		t.TableType = &n.Type
	}
	if n.Format != (Format{}) {
		t.Sd.SerdeInfo.SerializationLib, t.Sd.InputFormat, t.Sd.OutputFormat = &n.Format.SerDe, &n.Format.Input, &n.Format.Output
	}
	if len(n.BucketBy) > 0 {
		t.Sd.BucketCols, t.Sd.NumBuckets = n.BucketBy, pointer(int32(4))
	}
	if len(n.SkewedBy) > 0 {
		t.Sd.SkewedInfo = &hmsapi.SkewedInfo{SkewedColNames: n.SkewedBy, SkewedColValues: [][]string{}}
	}
}

// DropTable takes a table away, and leaves its files. One that is not there is fine.
func (m *Client) DropTable(ctx context.Context, database, table string) error {
	err := m.call(ctx, "drop the table", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		return api.DropTable(ctx, database, table, false)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return at(err, database+"."+table)
}

// AddPartitions registers partitions of a table at these locations, by name; those that are registered stay as they are.
// Nothing is counted: what is in them is for a merge, or Hive's ANALYZE, to say.
func (m *Client) AddPartitions(ctx context.Context, t *Table, locations map[string]string) error {
	var list []*hmsapi.Partition
	now := int32(m.c.Clock().Unix())
	for _, name := range slices.Sorted(maps.Keys(locations)) {
		values, err := t.ValuesOf(name)
		if err != nil {
			return err
		}
		sd := *some(t.raw.Sd)
		sd.Location = pointer(locations[name])
		p := hmsapi.NewPartition()
		p.Values, p.DbName, p.TableName, p.CatName, p.Sd, p.CreateTime = values, t.raw.DbName, t.raw.TableName, t.raw.CatName, &sd, &now
		p.Parameters = map[string]string{}
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil
	}
	return at(m.callFor(ctx, m.forMany(len(list)), "add partitions", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		_, err := api.AddPartitionsReq(ctx, &hmsapi.AddPartitionsRequest{DbName: t.Database, TblName: t.Name, Parts: list, IfNotExists: true})
		return err
	}), t.FullName())
}
