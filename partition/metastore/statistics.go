package metastore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage/swap"
)

// accuracy says which statistics are exact: Hive answers count(*) and max() of those without reading a row.
const accuracy = "COLUMN_STATS_ACCURATE"

// publish gives a partition's parameters as they are after a publish: counts of what was written, none of which is called exact (whoever
// adds a file without telling the metastore would make it a lie), and no statistics of columns in parameters.
func (m *Client) publish(parameters map[string]string, p swap.Pointer) map[string]string {
	out := make(map[string]string, len(parameters)+8)
	for name, v := range parameters {
		if name != accuracy && !strings.HasPrefix(name, sparkStatistics) && !strings.HasPrefix(name, "impala_intermediate_stats") {
			out[name] = v
		}
	}
	out["numFiles"] = strconv.Itoa(p.Files)
	out["totalSize"] = strconv.FormatInt(p.Bytes, 10)
	out["numRows"], out["rawDataSize"] = "-1", "-1"
	if p.Rows >= 0 {
		out["numRows"] = strconv.FormatInt(p.Rows, 10)
	}
	out["transient_lastDdlTime"] = strconv.FormatInt(m.c.Clock().Unix(), 10)
	out[ParamVersion] = strconv.FormatInt(p.Version, 10)
	out[ParamRun] = p.Run
	return out
}

// hasColumnStatistics reports whether the metastore has statistics of columns that count as exact.
func hasColumnStatistics(parameters map[string]string) bool {
	return strings.Contains(parameters[accuracy], "COLUMN_STATS")
}

// forgetfulness is how long statistics are removed: they do not count any more, so that what remains of them misleads nobody.
const forgetfulness = 20 * time.Second

// forgetStatistics removes the statistics of columns of partitions, or ("") of the table. It does what it can: they do not count as
// exact any more.
func (m *Client) forgetStatistics(ctx context.Context, t *Table, partitions []string) {
	ctx, cancel := context.WithTimeout(ctx, forgetfulness)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(mostCalls)
	for _, partition := range partitions {
		group.Go(func() error {
			err := m.call(ctx, "delete statistics", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
				return deleteStatistics(ctx, api, t.Database, t.Name, partition)
			})
			if errors.Is(err, fs.ErrNotExist) { // somebody else did
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		m.c.Logger.Warn("statistics of columns stay in the metastore, not as exact ones", "table", t.FullName(), "error", err)
	}
}

// deleteStatistics removes the statistics of all columns: the call without a column, which the generated code can't make, because
// it knows no null among arguments.
func deleteStatistics(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient, database, table, partition string) error {
	if partition == "" {
		var result hmsapi.ThriftHiveMetastoreDeleteTableColumnStatisticsResult
		_, err := api.Client_().Call(ctx, "delete_table_column_statistics", texts{database, table}, &result)
		return whichever(err, result.O1, result.O2, result.O3, result.O4)
	}
	var result hmsapi.ThriftHiveMetastoreDeletePartitionColumnStatisticsResult
	_, err := api.Client_().Call(ctx, "delete_partition_column_statistics", texts{database, table, partition}, &result)
	return whichever(err, result.O1, result.O2, result.O3, result.O4)
}

// texts are a call's first arguments, all texts.
type texts []string

// Write sends them.
func (t texts) Write(ctx context.Context, p thrift.TProtocol) error {
	if err := p.WriteStructBegin(ctx, "args"); err != nil {
		return err
	}
	for i, text := range t {
		if err := errors.Join(p.WriteFieldBegin(ctx, "", thrift.STRING, int16(i+1)), p.WriteString(ctx, text), p.WriteFieldEnd(ctx)); err != nil {
			return err
		}
	}
	return errors.Join(p.WriteFieldStop(ctx), p.WriteStructEnd(ctx))
}

// Read is of servers.
func (t texts) Read(context.Context, thrift.TProtocol) error { return errors.ErrUnsupported }

// whichever is the error of a call: the connection's, or the one that was answered.
func whichever(err error, absent *hmsapi.NoSuchObjectException, meta *hmsapi.MetaException, object *hmsapi.InvalidObjectException, input *hmsapi.InvalidInputException) error {
	switch {
	case err != nil:
		return err
	case absent != nil:
		return absent
	case meta != nil:
		return meta
	case object != nil:
		return object
	case input != nil:
		return input
	}
	return nil
}

// stamper collects what a merge rests on: columns, formats, and parameters but those that only count or tell.
type stamper struct{ hash.Hash }

func newStamper() stamper { return stamper{sha256.New()} }

func (s stamper) line(format string, args ...any) {
	fmt.Fprintf(s, format+"\n", args...)
}

func (s stamper) parameters(list map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if !volatile(name) {
			s.line("parameter %q=%q", name, list[name])
		}
	}
}

func (s stamper) storage(sd *hmsapi.StorageDescriptor) {
	sd = some(sd)
	for _, c := range sd.Cols {
		s.line("column %q %q", strings.ToLower(c.GetName()), c.GetType())
	}
	s.line("format %q", formatOf(sd))
	s.line("buckets %d %q", max(sd.GetNumBuckets(), 0), sd.BucketCols)
	s.line("skewed %q", skewedBy(sd))
	serde := some(sd.SerdeInfo).Parameters
	for _, name := range slices.Sorted(maps.Keys(serde)) {
		if name != sparkPath {
			s.line("serde %q=%q", name, serde[name])
		}
	}
}

func (s stamper) sum() string { return hex.EncodeToString(s.Sum(nil)[:16]) }

// tableStamp changes when anything changes that every merge rests on.
func tableStamp(t *hmsapi.Table) string {
	s := newStamper()
	s.line("type %q", t.GetTableType())
	for _, c := range t.PartitionKeys {
		s.line("key %q %q", c.GetName(), c.GetType())
	}
	s.storage(t.Sd)
	s.parameters(t.Parameters)
	return s.sum()
}

// ownStamp is of what a partition has of its own.
func ownStamp(p *hmsapi.Partition) string {
	s := newStamper()
	s.storage(p.Sd)
	s.parameters(p.Parameters)
	return s.sum()
}

// joinedStamp changes when anything changes that a merge of a partition rests on.
func joinedStamp(table, own string) string {
	s := newStamper()
	s.line("table %s", table)
	s.line("partition %s", own)
	return s.sum()
}
