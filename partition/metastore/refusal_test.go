package metastore

import (
	"errors"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
)

// plainTable is what is not refused.
func plainTable() *hmsapi.Table {
	t := hmsapi.NewTable()
	t.DbName, t.TableName, t.TableType = pointer("shop"), pointer("orders"), pointer("EXTERNAL_TABLE")
	t.Parameters = map[string]string{"EXTERNAL": "TRUE", "bucketing_version": "2", "transactional": "false"}
	t.PartitionKeys = fields([]Column{{Name: "dt", Type: "date"}})
	t.Sd = plainStorage()
	return t
}

func plainStorage() *hmsapi.StorageDescriptor {
	return &hmsapi.StorageDescriptor{
		Cols: fields(orderColumns), Location: pointer("hdfs://nn/w/orders"), NumBuckets: pointer(int32(-1)), SkewedInfo: &hmsapi.SkewedInfo{},
		InputFormat: pointer("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"),
		SerdeInfo:   &hmsapi.SerDeInfo{SerializationLib: pointer("org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe")},
	}
}

func TestRefusals(t *testing.T) {
	set := func(name, v string) func(*hmsapi.Table) { return func(t *hmsapi.Table) { t.Parameters[name] = v } }
	kind := func(v string) func(*hmsapi.Table) { return func(t *hmsapi.Table) { t.TableType = &v } }
	spark := func(more ...string) func(*hmsapi.Table) {
		return func(t *hmsapi.Table) {
			t.Parameters[sparkProvider], t.Parameters[sparkPartitions] = "parquet", "catalog"
			for i := 0; i < len(more); i += 2 {
				t.Parameters[more[i]] = more[i+1]
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*hmsapi.Table)
		says   string // "": it is not refused
	}{
		{"plain", func(*hmsapi.Table) {}, ""},
		{"managed", kind("MANAGED_TABLE"), ""},
		{"Spark's", spark(), ""},
		{"Hive's, by Spark", set(sparkProvider, "hive"), ""},
		{"by an old SerDe", func(t *hmsapi.Table) {
			t.Sd.SerdeInfo.SerializationLib, t.Sd.InputFormat = pointer("parquet.hive.serde.ParquetHiveSerDe"), pointer("parquet.hive.DeprecatedParquetInputFormat")
		}, ""},
		{"view", kind("VIRTUAL_VIEW"), "a view"},
		{"materialised", kind("MATERIALIZED_VIEW"), "materialised view"},
		{"index", kind("INDEX_TABLE"), "an index"},
		{"ACID", set("transactional", "True"), "transactional"},
		{"Iceberg", set("table_type", "ICEBERG"), "belongs to iceberg"},
		{"Iceberg, Spark's", set(sparkProvider, "iceberg"), "belongs to iceberg"},
		{"Delta", set(sparkProvider, "DELTA"), "belongs to delta"},
		{"Hudi", set(sparkProvider, "org.apache.hudi"), "belongs to hudi"},
		{"Hudi by its options", set("hoodie.table.name", "x"), "belongs to hudi"},
		{"HBase", set("storage_handler", "org.apache.hadoop.hive.hbase.HBaseStorageHandler"), "HBaseStorageHandler"},
		{"protected", set("PROTECT_MODE", "OFFLINE,NO_DROP"), "PROTECT_MODE=OFFLINE,NO_DROP"},
		{"offline", set("offline", "true"), "offline=true"},
		{"not to be dropped", set("NO_DROP", "TRUE"), "NO_DROP"},
		{"no protection", set("PROTECT_MODE", ""), ""},
		{"CSV of Spark", set(sparkProvider, "csv"), "of format csv"},
		{"buckets of Spark", spark(sparkBuckets, "8"), "bucketed"},
		{"folders of Spark", spark(sparkPartitions, "filesystem"), "listing folders"},
		{"types of Spark", func(t *hmsapi.Table) {
			spark()(t)
			t.Sd.SerdeInfo.SerializationLib = pointer("org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe")
		}, "only Spark knows"},
		{"text", func(t *hmsapi.Table) {
			t.Sd.SerdeInfo.SerializationLib = pointer("org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe")
		}, "LazySimpleSerDe"},
		{"manifests", func(t *hmsapi.Table) {
			t.Sd.InputFormat = pointer("org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat")
		}, "SymlinkTextInputFormat"},
		{"buckets", func(t *hmsapi.Table) { t.Sd.NumBuckets, t.Sd.BucketCols = pointer(int32(4)), []string{"order_id"} }, "bucketed (by order_id)"},
		{"skew", func(t *hmsapi.Table) { t.Sd.SkewedInfo.SkewedColNames = []string{"note"} }, "skewed (by note)"},
		{"skewed folders", func(t *hmsapi.Table) { t.Sd.StoredAsSubDirectories = pointer(true) }, "skewed"},
		{"nowhere", func(t *hmsapi.Table) { t.Sd.Location = nil }, "no location"},
		{"without files", func(t *hmsapi.Table) { t.Sd = nil }, "no location"},
	} {
		raw := plainTable()
		c.change(raw)
		refused(t, c.name, newTable(raw).Refusal(), c.says)
	}
}

// A partition has a storage and a protection of its own.
func TestRefusalsOfPartitions(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*hmsapi.Partition)
		says   string
	}{
		{"plain", func(*hmsapi.Partition) {}, ""},
		{"ORC", func(p *hmsapi.Partition) {
			p.Sd.SerdeInfo.SerializationLib = pointer("org.apache.hadoop.hive.ql.io.orc.OrcSerde")
		}, "OrcSerde"},
		{"buckets", func(p *hmsapi.Partition) { p.Sd.NumBuckets = pointer(int32(2)) }, "bucketed"},
		{"protected", func(p *hmsapi.Partition) { p.Parameters["PROTECT_MODE"] = "NO_DROP" }, "partition is protected"},
		{"archived", func(p *hmsapi.Partition) { p.Parameters["is_archived"] = "true" }, "archived"},
		{"without files", func(p *hmsapi.Partition) { p.Sd = nil }, "no files"},
	} {
		table := newTable(plainTable())
		raw := hmsapi.NewPartition()
		raw.Values, raw.Sd, raw.Parameters = []string{"2026-01-01"}, plainStorage(), map[string]string{"numRows": "3"}
		c.change(raw)
		p, err := table.partition(raw)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, c.name, table.RefusalOf(p), c.says)
	}
}

func refused(t *testing.T, name string, err error, says string) {
	t.Helper()
	if says == "" {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return
	}
	var e *Error
	if !errors.Is(err, ErrRefused) || !errors.As(err, &e) || !strings.Contains(err.Error(), says) || e.Hint == "" || e.Table != "shop.orders" {
		t.Errorf("%s: %v", name, err)
	}
}
