package metastore

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage/swap"
)

// RegistryOptions says how a table's folders and locks are treated. The zero value works.
type RegistryOptions struct {
	// DefaultFS is what locations without a host lie on (fs.defaultFS): "hdfs://ns1".
	DefaultFS string
	// Alias gives one name for all that a host has, so that hdfs://nn1/x and hdfs://ns1/x are one place. It gets names in small letters,
	// with the port where that is not the scheme's own. nil: every name is a host of its own.
	Alias func(host string) string
	// LockWait is how long Hold waits for others; 0: not at all.
	LockWait time.Duration
	// Heartbeat is how often what Hold holds is kept alive; 0: a third of the time that the metastore allows, at most 20 s.
	Heartbeat time.Duration
}

// Registry is one table of a metastore as storage/swap publishes through it: a swap.Registry.
type Registry struct {
	m               *Client
	database, table string
	o               RegistryOptions
	places          places
}

// Registry gives a table's.
func (m *Client) Registry(t *Table, o RegistryOptions) *Registry {
	return &Registry{m: m, database: t.Database, table: t.Name, o: o,
		places: places{home: parsePlace(t.Location), fallback: parsePlace(o.DefaultFS), alias: o.Alias}}
}

// URL names the table, by every host of its metastore.
func (r *Registry) URL() string {
	return Address{Hosts: r.m.c.Hosts, Database: r.database, Table: r.table}.String()
}

func (r *Registry) name() string { return r.database + "." + r.table }

// Folder gives the path of a location on the table's storage; ErrElsewhere where it is on another.
func (r *Registry) Folder(partition, location string) (string, error) {
	if location == "" {
		return "", fault(ErrRefused, "it has no location").of(r.name(), partition).hint("is it of a table of files?")
	}
	folder, ok := r.places.folder(location)
	if !ok {
		return "", fault(ErrElsewhere, "its location is %s: on another storage than the table (%s)", location, r.places.home.prefix).of(r.name(), partition).
			hint("a publish moves folders, which it can't do between file systems: copy the partition to the table's storage and ALTER TABLE ... SET LOCATION")
	}
	return folder, nil
}

// Look gives where partitions are, nil asking for all. One that lies on another storage is an error that names it, ErrElsewhere; among
// all it is left out.
func (r *Registry) Look(ctx context.Context, partitions []string) (map[string]swap.Registered, error) {
	t, err := r.m.Table(ctx, r.database, r.table)
	if err != nil {
		return nil, err
	}
	out, all := make(map[string]swap.Registered, len(partitions)), partitions == nil
	if partitions == nil && len(t.PartitionBy) > 0 {
		if partitions, err = r.m.PartitionNames(ctx, r.database, r.table); err != nil {
			return nil, err
		}
	}
	if partitions == nil || slices.Contains(partitions, "") {
		folder, err := r.Folder("", t.Location)
		if err != nil {
			return nil, err
		}
		out[""] = swap.Registered{Folder: folder, Stamp: tableStamp(t.raw)}
		return out, nil
	}
	list, err := r.m.Partitions(ctx, t, partitions)
	if err != nil {
		return nil, err
	}
	stamp := tableStamp(t.raw)
	for _, p := range list {
		folder, err := r.Folder(p.Name, p.Location)
		if err != nil && all {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[p.Name] = swap.Registered{Folder: folder, Stamp: joinedStamp(stamp, ownStamp(p.raw))}
	}
	return out, nil
}

// Point registers new folders. All partitions that are there already change in one call, all or none; then those that are new
// are added in one, then those that go away are dropped in one. A run that does only one of these is all or none; where
// more than one is to be done and the process dies between them, pointing again ends it.
//
// Before a change it is looked where each partition is: at neither Was nor Folder nothing is changed, swap.ErrConflict. Where
// the connection breaks under a change, it is looked again what became of it.
func (r *Registry) Point(ctx context.Context, list []swap.Pointer) error {
	refused := false
	return r.m.settle(ctx, r.name(), func() error { return r.point(ctx, list) }, func(err error) bool {
		if !stale(err) || refused {
			return false
		}
		refused = true // it changed between the look and the change: the next look says how
		return true
	})
}

// settle does what looks and then changes, and again where nobody knows what became of the change, or where once more says so.
func (m *Client) settle(ctx context.Context, table string, try func() error, onceMore func(error) bool) error {
	started := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := try()
		if !onceMore(err) && (!errors.Is(err, errUnknown) || time.Since(started) > m.c.RetryFor) {
			return err
		}
		m.c.Logger.Debug("a change's outcome is not known: looking again", "table", table, "error", err)
		if err := rest(ctx, pause); err != nil {
			return err
		}
	}
}

// stale reports whether the metastore refused a change as one of something that is not so.
func stale(err error) bool {
	return !errors.Is(err, swap.ErrConflict) && (errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist))
}

// change is what a Point comes to, after it was looked where everything is.
type change struct {
	alter   []*hmsapi.Partition
	add     []*hmsapi.Partition
	drop    []string
	counted []string // of those to alter: with exact statistics of columns
}

func (r *Registry) point(ctx context.Context, list []swap.Pointer) error {
	if len(list) == 0 {
		return nil
	}
	t, err := r.m.Table(ctx, r.database, r.table)
	if err != nil {
		return err
	}
	if list[0].Partition == "" {
		return r.pointTable(ctx, t, list[0])
	}
	c, err := r.plan(ctx, t, list)
	if err != nil {
		return err
	}
	if err := r.alter(ctx, c.alter); err != nil {
		return err
	}
	r.m.forgetStatistics(ctx, t, c.counted)
	if err := r.add(ctx, t, c.add); err != nil {
		return err
	}
	return r.drop(ctx, c.drop)
}

// plan looks where partitions are and says what is to be done.
func (r *Registry) plan(ctx context.Context, t *Table, list []swap.Pointer) (*change, error) {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Partition
	}
	raw, err := r.m.rawPartitions(ctx, r.database, r.table, names)
	if err != nil {
		return nil, err
	}
	there := make(map[string]*hmsapi.Partition, len(raw))
	for _, p := range raw {
		name, err := t.NameOf(p.Values)
		if err != nil {
			return nil, err
		}
		there[name] = p
	}
	c := &change{}
	for _, p := range list {
		if err := r.planOne(t, c, p, there[p.Partition]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// planOne adds one partition's change.
func (r *Registry) planOne(t *Table, c *change, p swap.Pointer, raw *hmsapi.Partition) error {
	is := "" // where it is
	if raw != nil {
		var err error
		raw.Sd = some(raw.Sd)
		if is, err = r.Folder(p.Partition, raw.Sd.GetLocation()); err != nil {
			return err
		}
	}
	if is != p.Was && is != p.Folder {
		return r.moved(p, is)
	}
	switch {
	case p.Folder == "" && raw != nil:
		c.drop = append(c.drop, p.Partition)
	case p.Folder == "":
	case raw == nil:
		added, err := r.fresh(t, p)
		if err != nil {
			return err
		}
		c.add = append(c.add, added)
	default:
		if hasColumnStatistics(raw.Parameters) {
			c.counted = append(c.counted, p.Partition)
		}
		raw.Sd.Location = pointer(r.places.location(p.Folder))
		raw.Parameters = r.m.publish(raw.Parameters, p)
		c.alter = append(c.alter, raw)
	}
	return nil
}

// moved says that a partition is at neither of the places where it should be.
func (r *Registry) moved(p swap.Pointer, is string) error {
	place := func(folder string) string {
		if folder == "" {
			return "not registered"
		}
		return "at " + folder
	}
	return conflict(r.name(), p.Partition, "somebody changed it in the metastore: it was %s, and is %s", place(p.Was), place(is))
}

// fresh is a new partition, in the form of its table.
func (r *Registry) fresh(t *Table, p swap.Pointer) (*hmsapi.Partition, error) {
	values, err := t.ValuesOf(p.Partition)
	if err != nil {
		return nil, err
	}
	sd := *some(t.raw.Sd)
	sd.Location = pointer(r.places.location(p.Folder))
	now := int32(r.m.c.Clock().Unix())
	return &hmsapi.Partition{
		Values: values, DbName: pointer(r.database), TableName: pointer(r.table), CatName: t.raw.CatName,
		CreateTime: &now, LastAccessTime: pointer(int32(0)),
		Sd: &sd, Parameters: r.m.publish(nil, p), WriteId: hmsapi.Partition_WriteId_DEFAULT,
	}, nil
}

// environment keeps the metastore from counting files and bytes itself: what is registered is what was written.
func environment() *hmsapi.EnvironmentContext {
	return &hmsapi.EnvironmentContext{Properties: map[string]string{"DO_NOT_UPDATE_STATS": "true"}}
}

func (r *Registry) alter(ctx context.Context, list []*hmsapi.Partition) error {
	if len(list) == 0 {
		return nil
	}
	return at(r.m.callFor(ctx, r.m.forMany(len(list)), "alter partitions", once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		return api.AlterPartitionsWithEnvironmentContext(ctx, r.database, r.table, list, environment())
	}), r.name())
}

// add adds partitions, and sees whether they are its own: one that somebody has added meanwhile is left as it is.
func (r *Registry) add(ctx context.Context, t *Table, list []*hmsapi.Partition) error {
	if len(list) == 0 {
		return nil
	}
	err := r.m.callFor(ctx, r.m.forMany(len(list)), "add partitions", once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		_, err := api.AddPartitionsReq(ctx, &hmsapi.AddPartitionsRequest{DbName: r.database, TblName: r.table, Parts: list, IfNotExists: true})
		return err
	})
	if err != nil {
		return at(err, r.name())
	}
	want := make(map[string]string, len(list))
	names := make([]string, 0, len(list))
	for _, p := range list {
		name, err := t.NameOf(p.Values)
		if err != nil {
			return err
		}
		want[name] = p.Sd.GetLocation()
		names = append(names, name)
	}
	now, err := r.m.Partitions(ctx, t, names)
	if err != nil {
		return err
	}
	for _, p := range now {
		is, ok := r.places.folder(p.Location)
		if ours, _ := r.places.folder(want[p.Name]); !ok || is != ours {
			return conflict(r.name(), p.Name, "somebody added it to the metastore meanwhile, at %s", p.Location)
		}
		delete(want, p.Name)
	}
	for name := range want {
		return conflict(r.name(), name, "it was added to the metastore, and is not there")
	}
	return nil
}

// drop takes partitions out of the table, and leaves their files.
func (r *Registry) drop(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	keep, lenient, silent := false, true, false
	return at(r.m.callFor(ctx, r.m.forMany(len(names)), "drop partitions", once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		_, err := api.DropPartitionsReq(ctx, &hmsapi.DropPartitionsRequest{
			DbName: r.database, TblName: r.table, Parts: &hmsapi.RequestPartsSpec{Names: names},
			DeleteData: &keep, IfExists: lenient, NeedResult_: silent,
		})
		return err
	}), r.name())
}

// pointTable moves a table without partitions.
func (r *Registry) pointTable(ctx context.Context, t *Table, p swap.Pointer) error {
	is, err := r.Folder("", t.Location)
	switch {
	case err != nil:
		return err
	case len(t.PartitionBy) > 0:
		return t.badName("")
	case p.Folder == "":
		return fault(ErrUsage, "a table without partitions can't go away").of(r.name(), "")
	case is != p.Was && is != p.Folder:
		return r.moved(p, is)
	}
	t.raw.Sd = some(t.raw.Sd)
	counted := hasColumnStatistics(t.raw.Parameters)
	t.raw.Sd.Location = pointer(r.places.location(p.Folder))
	if serde := t.raw.Sd.SerdeInfo; serde != nil && serde.Parameters[sparkPath] != "" {
		serde.Parameters[sparkPath] = t.raw.Sd.GetLocation() // Spark reads its own tables there
	}
	t.raw.Parameters = r.m.publish(t.raw.Parameters, p)
	if err := r.m.alterTable(ctx, t.raw); err != nil {
		return err
	}
	if counted {
		r.m.forgetStatistics(ctx, t, []string{""})
	}
	return nil
}

// alterTable writes a table back.
func (m *Client) alterTable(ctx context.Context, raw *hmsapi.Table) error {
	return at(m.call(ctx, "alter the table", once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		return api.AlterTableWithEnvironmentContext(ctx, raw.GetDbName(), raw.GetTableName(), raw, environment())
	}), raw.GetDbName()+"."+raw.GetTableName())
}

func pointer[T any](v T) *T { return &v }

// volatile are parameters that change without anything changing that a merge rests on.
func volatile(name string) bool {
	for _, prefix := range []string{ours, sparkStatistics, "impala", "last_modified_", "STATS_GENERATED"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "numRows", "totalSize", "numFiles", "rawDataSize", "numFilesErasureCoded", "numPartitions", "transient_lastDdlTime", "COLUMN_STATS_ACCURATE", "comment":
		return true
	}
	return false
}
