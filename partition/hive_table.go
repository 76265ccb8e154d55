package partition

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/swap"
)

// hiveTable is a table of a Hive Metastore. It implements catalog.
type hiveTable struct {
	*metastore.Registry
	client          *metastore.Client
	database, table string
}

// openHive finds a table by its metastore: there, and where the metastore says that its files are.
func (t *Table) openHive(ctx context.Context) error {
	address, err := metastore.ParseURL(t.url)
	if err != nil {
		return hiveError(err)
	}
	conf, err := t.storages.conf()
	if err != nil {
		return err
	}
	config, err := t.metastoreConfig(address, conf)
	if err != nil {
		return err
	}
	client, err := metastore.Dial(ctx, config)
	if err != nil {
		return hiveError(err)
	}
	table, err := client.Table(ctx, address.Database, address.Table)
	if errors.Is(err, fs.ErrNotExist) {
		err = noTable(err, address)
	}
	if err == nil {
		err = table.Refusal()
	}
	if err == nil {
		err = t.findFiles(ctx, table)
	}
	if err != nil {
		return errors.Join(hiveError(err), client.Close())
	}
	registry := client.Registry(table, metastore.RegistryOptions{DefaultFS: conf.Get("fs.defaultFS"), Alias: t.storages.alias(conf)})
	t.catalog = &hiveTable{Registry: registry, client: client, database: address.Database, table: address.Table}
	if t.cfg.hooks.catalog != nil {
		t.catalog = t.cfg.hooks.catalog(t.catalog)
	}
	return nil
}

// noTable says that the metastore has no such table, and which it has.
func noTable(err error, address metastore.Address) error {
	e := fault(ErrNotFound, "the metastore has no table %s.%s", address.Database, address.Table).
		hint("CREATE EXTERNAL TABLE ... STORED AS PARQUET in Hive or Spark makes one")
	var m *metastore.Error
	if errors.As(err, &m) && m.Hint != "" {
		e.Hint = m.Hint
	}
	return e
}

// metastoreConfig says how the metastore of a URL is reached.
func (t *Table) metastoreConfig(address metastore.Address, conf hadoop.Conf) (metastore.Config, error) {
	settings, err := metastore.ReadSettings(conf.Get)
	if err != nil {
		return metastore.Config{}, hiveError(err)
	}
	who := t.cfg.Hadoop.credentials()
	c := metastore.Config{Hosts: address.Hosts, User: who.UserName(), Principal: settings.Principal, Timeout: settings.Timeout,
		Logger: t.cfg.Logger, Clock: t.cfg.Now}
	if len(c.Hosts) == 0 {
		c.Hosts = settings.Hosts
	}
	if len(c.Hosts) == 0 {
		return c, fault(ErrUsage, "%s names no metastore, and hive.metastore.uris is not set", t.url).
			hint("hive://host:9083/db.table, or HADOOP_CONF_DIR names a folder with hive-site.xml")
	}
	if settings.Kerberos || who.Keytab != "" { // a keytab asks for Kerberos, as on HDFS
		c.Kerberos = who.Ticket
	}
	return c, nil
}

// findFiles finds the table's folder. A table without partitions is registered where its live version is.
func (t *Table) findFiles(ctx context.Context, table *metastore.Table) error {
	beginning, folder := table.Storage()
	at, err := t.storages.find(locationURL(beginning, folder))
	if err == nil {
		at, err = at.resolve()
	}
	if err != nil {
		return locate(err, "", StepOpen)
	}
	t.fsys, t.device, t.root = at.fsys, at.device, at.name
	if len(table.PartitionBy) == 0 {
		switch root, err := swap.TableOf(ctx, t.fsys, t.root); {
		case err != nil:
			return locate(err, "", StepOpen)
		case root != "":
			t.root = root
		}
	}
	return t.findState()
}

// locationURL writes a location as our URLs are: a metastore has file:/x and hdfs:/x as well, and no scheme for the
// default file system.
func locationURL(beginning, folder string) string {
	scheme, rest, ok := strings.Cut(beginning, ":")
	switch {
	case !ok:
		return "hdfs://" + folder
	case rest == "":
		return scheme + "://" + folder
	}
	return beginning + folder
}

// Describe implements catalog.
func (h *hiveTable) Describe(ctx context.Context) (catalogTable, error) {
	t, err := h.read(ctx)
	if err != nil {
		return catalogTable{}, err
	}
	schema, err := t.Schema()
	if err != nil {
		return catalogTable{}, hiveError(err)
	}
	by, err := t.PartitionSchema()
	if err != nil {
		return catalogTable{}, hiveError(err)
	}
	return catalogTable{Schema: schema, PartitionBy: by, Properties: t.Parameters,
		ByPosition: t.ByPosition()}, nil
}

// read reads the table anew, and refuses what it may have become.
func (h *hiveTable) read(ctx context.Context) (*metastore.Table, error) {
	t, err := h.client.Table(ctx, h.database, h.table)
	if err == nil {
		err = t.Refusal()
	}
	return t, hiveError(err)
}

// Names implements catalog.
func (h *hiveTable) Names(ctx context.Context) ([]string, error) {
	t, err := h.read(ctx)
	if err != nil {
		return nil, err
	}
	if len(t.PartitionBy) == 0 {
		return []string{""}, nil
	}
	names, err := h.client.PartitionNames(ctx, h.database, h.table)
	return names, hiveError(err)
}

// Partitions implements catalog.
func (h *hiveTable) Partitions(ctx context.Context, names []string) ([]catalogPartition, error) {
	t, err := h.read(ctx)
	if err != nil {
		return nil, err
	}
	if len(t.PartitionBy) == 0 {
		folder, err := h.Folder("", t.Location)
		return []catalogPartition{{Folder: folder, Location: t.Location, Properties: t.Parameters, Refusal: hiveError(err)}}, nil
	}
	list, err := h.client.Partitions(ctx, t, names)
	if err != nil {
		return nil, hiveError(err)
	}
	out := make([]catalogPartition, len(list))
	for i, p := range list {
		folder, err := h.Folder(p.Name, p.Location)
		if err == nil {
			err = t.RefusalOf(p)
		}
		out[i] = catalogPartition{Name: p.Name, Folder: folder, Location: p.Location, Properties: p.Parameters, Refusal: hiveError(err),
			Behind: behindColumns(t, p)}
	}
	return out, nil
}

// behindColumns are those of a table that a partition's list has not as the table has them.
func behindColumns(t *metastore.Table, p *metastore.Partition) (out []behindColumn) {
	for _, c := range t.Behind(p) {
		out = append(out, behindColumn{Name: c.Name, Type: c.Type, Own: c.Own})
	}
	return out
}

// AddColumns implements catalog.
func (h *hiveTable) AddColumns(ctx context.Context, columns []catalogColumn, partitions []string) (map[string]swap.Restamp, error) {
	list := make([]metastore.Column, len(columns))
	for i, c := range columns {
		text, err := metastore.HiveType(c.Type)
		if err != nil {
			return nil, hiveError(err)
		}
		list[i] = metastore.Column{Name: c.Name, Type: text}
	}
	stamps, err := h.client.AddColumns(ctx, h.database, h.table, list, partitions)
	return stamps, hiveError(err)
}

// SetProperties implements catalog.
func (h *hiveTable) SetProperties(ctx context.Context, set map[string]string) error {
	return hiveError(h.client.SetParameters(ctx, h.database, h.table, set))
}

// Close implements catalog.
func (h *hiveTable) Close() error { return h.client.Close() }

// hiveError gives an error of the metastore client its kind here, with its place and hint.
func hiveError(err error) error {
	var m *metastore.Error
	if !errors.As(err, &m) {
		return err
	}
	known := []struct{ is, sentinel error }{
		{metastore.ErrUsage, ErrUsage}, {metastore.ErrRefused, ErrForeignTable}, {metastore.ErrSchema, ErrSchema},
		{metastore.ErrElsewhere, ErrLayout}, {fs.ErrNotExist, ErrNotFound}, {swap.ErrConflict, ErrConflict}, {swap.ErrLocked, ErrLocked},
		{hadoop.ErrSetup, ErrUsage},
	}
	e := &Error{Partition: m.Partition, Column: m.Column, Hint: m.Hint}
	rest := *m
	rest.Partition, rest.Column = "", ""
	if errors.Is(err, hadoop.ErrLogin) {
		e.Hint, rest.Err = advised(rest.Err)
	}
	e.Err, e.Kind = &rest, KindStorage
	for _, k := range known {
		if errors.Is(err, k.is) {
			e.Err, e.Kind = both{&rest, k.sentinel}, KindOf(k.sentinel)
			break
		}
	}
	if e.Kind == KindStorage && errors.Is(err, context.Canceled) {
		e.Kind = KindInterrupted
	}
	return e
}
