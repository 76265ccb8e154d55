package metastore

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage/swap"
)

// AddColumns adds columns to a table, last, and gives the partitions named the table's list of columns, as ALTER TABLE ... CASCADE does:
// one that is older than the table's makes readers see NULL, fail, or take one column for another. What is there already, with the
// same type, stays; where the table, or a partition, has one of the columns to be added in another type it is ErrSchema, and nothing
// is changed. Doing it twice does no harm. The table is changed before its partitions: who comes between reads NULL.
//
// Of the partitions that are registered it says how their stamps changed by this, and by nothing else: where somebody else changes
// the table or one of them meanwhile it is swap.ErrConflict, or the stamps are others than the caller has read.
func (m *Client) AddColumns(ctx context.Context, database, table string, columns []Column, partitions []string) (map[string]swap.Restamp, error) {
	name := database + "." + table
	columns = slices.Clone(columns)
	for i, c := range columns {
		t, err := parseType(c.Type)
		if err != nil {
			return nil, at(schemaFault(c.Name, err), name)
		}
		columns[i].Type = t.hive()
	}
	a := &addition{m: m, database: database, table: table, columns: columns, partitions: partitions}
	err := m.settle(ctx, name, func() error { return a.try(ctx) }, func(error) bool { return false })
	return a.stamps(), err
}

// addition is columns on their way into a table and its partitions. Each try reads anew what it writes back.
type addition struct {
	m               *Client
	database, table string
	columns         []Column
	partitions      []string

	// What the first try has read, and what is to become of it: a later one goes on where it finds either of these.
	of  swap.Restamp            // the table
	own map[string]swap.Restamp // the partitions, without it
}

// stamps are those of the partitions, "" being a table without.
func (a *addition) stamps() map[string]swap.Restamp {
	out := make(map[string]swap.Restamp, len(a.own))
	for name, own := range a.own {
		out[name] = swap.Restamp{Was: joinedStamp(a.of.Was, own.Was), Is: joinedStamp(a.of.Is, own.Is)}
	}
	if slices.Contains(a.partitions, "") {
		out[""] = a.of
	}
	return out
}

func (a *addition) name() string { return a.database + "." + a.table }

// try looks where everything is, and changes what is behind.
func (a *addition) try(ctx context.Context) error {
	raw, err := a.m.rawTable(ctx, a.database, a.table)
	if err != nil {
		return err
	}
	raw.Sd = some(raw.Sd)
	of := swap.Restamp{Was: tableStamp(raw)}
	grown, err := a.grow(raw)
	if err != nil {
		return err
	}
	of.Is = tableStamp(raw)
	// All is known to fit before anything is changed.
	own, behind, err := a.follow(ctx, raw)
	if err != nil {
		return err
	}
	if err := a.expect(of, own); err != nil {
		return err
	}
	if grown {
		if err := a.m.alterTable(ctx, raw); err != nil {
			return err
		}
	}
	if len(behind) == 0 {
		return nil
	}
	return at(a.m.callFor(ctx, a.m.forMany(len(behind)), "alter partitions", once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		return api.AlterPartitionsWithEnvironmentContext(ctx, a.database, a.table, behind, environment())
	}), a.name())
}

// expect holds what a try has read against what the first one has: nobody else may have changed it, whatever became of
// the changes of ours in between.
func (a *addition) expect(of swap.Restamp, own map[string]swap.Restamp) error {
	if a.own == nil {
		a.of, a.own = of, own
		return nil
	}
	if of.Was != a.of.Was && of.Was != a.of.Is {
		return conflict(a.name(), "", "somebody else has changed the table meanwhile")
	}
	for name, first := range a.own {
		if now, ok := own[name]; !ok || now.Was != first.Was && now.Was != first.Is {
			return conflict(a.name(), name, "somebody else has changed its registration meanwhile")
		}
	}
	return nil
}

// grow adds the columns to a table that was read, and reports whether it lacked any.
func (a *addition) grow(raw *hmsapi.Table) (bool, error) {
	for _, c := range a.columns {
		for _, key := range raw.PartitionKeys {
			if strings.EqualFold(key.GetName(), c.Name) {
				return false, fault(ErrSchema, "the table is partitioned by it").of(a.name(), "").column(c.Name)
			}
		}
	}
	missing, err := missingColumns(raw.Sd, a.columns)
	if err != nil || len(missing) == 0 {
		return false, at(err, a.name())
	}
	return true, a.addToTable(raw, missing)
}

// addToTable adds columns to a table's own list, and to Spark's.
func (a *addition) addToTable(raw *hmsapi.Table, columns []Column) error {
	raw.Sd.Cols = append(raw.Sd.Cols, fields(columns)...)
	spark, err := sparkSchemaOf(raw.Parameters)
	if err != nil {
		return fault(ErrSchema, "%v", err).of(a.name(), "").hint("ALTER TABLE ... ADD COLUMNS in Spark, which has made the table")
	}
	if spark == nil {
		return nil
	}
	if err := spark.add(columns, len(raw.PartitionKeys)); err != nil {
		return fault(ErrSchema, "%v", err).of(a.name(), "")
	}
	return spark.store(raw.Parameters)
}

// follow reads the partitions and gives them the columns of their table, which has those that are added: their stamps, and those of which
// anything changed.
func (a *addition) follow(ctx context.Context, table *hmsapi.Table) (map[string]swap.Restamp, []*hmsapi.Partition, error) {
	own := map[string]swap.Restamp{}
	if len(table.PartitionKeys) == 0 {
		return own, nil, nil
	}
	list, err := a.m.Partitions(ctx, newTable(table), a.partitions)
	if err != nil {
		return nil, nil, err
	}
	var behind []*hmsapi.Partition
	for _, p := range list {
		p.raw.Sd = some(p.raw.Sd)
		stamp := swap.Restamp{Was: ownStamp(p.raw)}
		if _, err := missingColumns(p.raw.Sd, a.columns); err != nil {
			var e *Error
			if errors.As(err, &e) {
				e.Table, e.Partition = a.name(), p.Name
			}
			return nil, nil, err
		}
		if columns, changed := following(p.raw.Sd.Cols, table.Sd.Cols); changed {
			p.raw.Sd.Cols = columns
			behind = append(behind, p.raw)
		}
		stamp.Is = ownStamp(p.raw)
		own[p.Name] = stamp
	}
	return own, behind, nil
}

// following is a partition's list of columns with the table's names, types and order. Comments of its own stay, and columns that
// only it has, last. Whether that is another list is said.
func following(own, table []*hmsapi.FieldSchema) (out []*hmsapi.FieldSchema, changed bool) {
	at := func(list []*hmsapi.FieldSchema, name string) int {
		return slices.IndexFunc(list, func(f *hmsapi.FieldSchema) bool { return strings.EqualFold(f.GetName(), name) })
	}
	for i, c := range table {
		j := at(own, c.GetName())
		if j != i || !sameType(own[j].GetType(), c.GetType()) {
			changed = true
			column := *c
			if j >= 0 && own[j].Comment != nil {
				column.Comment = own[j].Comment
			}
			c = &column
		} else {
			c = own[j]
		}
		out = append(out, c)
	}
	for _, c := range own {
		if at(table, c.GetName()) < 0 {
			out = append(out, c)
		}
	}
	return out, changed
}

// sameType compares types as the metastore writes them.
func sameType(a, b string) bool {
	is, err := parseType(a)
	other, oerr := parseType(b)
	if err != nil || oerr != nil {
		return strings.EqualFold(a, b)
	}
	return is.same(other)
}

// BehindColumn is a column that a partition's own list has not as its table has it.
type BehindColumn struct {
	Column        // as the table has it
	Own    string // the type in the partition's list, the same where only its place is another; "": it lacks the column
}

// Behind are the columns that a partition's own list lacks, or has in another type or place than the table: readers that go by that
// list see NULL, fail, or take one column for another.
func (t *Table) Behind(p *Partition) (out []BehindColumn) {
	for i, c := range t.Columns {
		j := slices.IndexFunc(p.Columns, func(o Column) bool { return strings.EqualFold(o.Name, c.Name) })
		switch {
		case j < 0:
			out = append(out, BehindColumn{Column: c})
		case j != i || !sameType(p.Columns[j].Type, c.Type):
			out = append(out, BehindColumn{c, p.Columns[j].Type})
		}
	}
	return out
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

// NewPartition says what AddPartitionsAs registers.
type NewPartition struct {
	Location   string
	Parameters map[string]string
	Format     Format // the zero value: the table's
}

// AddPartitions registers partitions of a table at these locations, by name; those that are registered stay as they are.
// Nothing is counted: what is in them is for a merge, or Hive's ANALYZE, to say.
func (m *Client) AddPartitions(ctx context.Context, t *Table, locations map[string]string) error {
	list := make(map[string]NewPartition, len(locations))
	for name, location := range locations {
		list[name] = NewPartition{Location: location}
	}
	return m.AddPartitionsAs(ctx, t, list)
}

// AddPartitionsAs is AddPartitions for those that are not as their table, such as hupsert refuses.
func (m *Client) AddPartitionsAs(ctx context.Context, t *Table, partitions map[string]NewPartition) error {
	var list []*hmsapi.Partition
	now := int32(m.c.Clock().Unix())
	for _, name := range slices.Sorted(maps.Keys(partitions)) {
		values, err := t.ValuesOf(name)
		if err != nil {
			return err
		}
		n := partitions[name]
		sd := *some(t.raw.Sd)
		sd.Location = &n.Location
		if f := n.Format; f != (Format{}) {
			sd.InputFormat, sd.OutputFormat, sd.SerdeInfo = &f.Input, &f.Output, &hmsapi.SerDeInfo{SerializationLib: &f.SerDe}
		}
		p := hmsapi.NewPartition()
		p.Values, p.DbName, p.TableName, p.CatName, p.Sd, p.CreateTime = values, t.raw.DbName, t.raw.TableName, t.raw.CatName, &sd, &now
		p.Parameters = map[string]string{}
		maps.Copy(p.Parameters, n.Parameters)
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
