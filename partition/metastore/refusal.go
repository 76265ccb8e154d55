package metastore

import (
	"fmt"
	"strings"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
)

// parquetSerDes and parquetInputs read plain Parquet files, by their classes' names. Others that read Parquet read it by lists
// of their own (Hudi's timeline, manifests behind symlinks), which a changed partition would contradict.
var (
	parquetSerDes = map[string]bool{
		"org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe": true, "parquet.hive.serde.ParquetHiveSerDe": true,
	}
	parquetInputs = map[string]bool{
		"org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat": true, "parquet.hive.MapredParquetInputFormat": true,
		"parquet.hive.DeprecatedParquetInputFormat": true,
	}
)

// sparkPlain are the providers of tables that are folders of Parquet files: Spark's own, and Hive's.
var sparkPlain = map[string]bool{"": true, "parquet": true, "hive": true, "org.apache.spark.sql.parquet": true,
	"org.apache.spark.sql.execution.datasources.parquet": true, "org.apache.spark.sql.execution.datasources.parquet.parquetfileformat": true}

// no is why a table or partition is refused, and what helps; "" is no reason.
type no struct{ reason, remedy string }

// Refusal says why hupsert does not change a table, ErrRefused with what helps; nil where it does. Partitions have their own
// reasons ([Table.RefusalOf]).
func (t *Table) Refusal() error {
	for _, refuses := range []func() no{t.refuseKind, t.refuseSystem, t.refuseProtected, t.refuseSpark, t.refusePlace} {
		if n := refuses(); n.reason != "" {
			return fault(ErrRefused, "%s", n.reason).of(t.FullName(), "").hint("%s", n.remedy)
		}
	}
	if n := refuseStorage(t.raw.Sd); n.reason != "" {
		return fault(ErrRefused, "%s", n.reason).of(t.FullName(), "").hint("%s", n.remedy)
	}
	return nil
}

// RefusalOf says why hupsert does not change a partition, ErrRefused with what helps; nil where it does.
func (t *Table) RefusalOf(p *Partition) error {
	n := protection("partition", p.Parameters)
	if n.reason == "" {
		n = refuseStorage(p.raw.Sd)
	}
	if n.reason == "" && isTrue(p.Parameters["is_archived"]) {
		n = no{"the partition is archived", "take it out of its archive: ALTER TABLE ... UNARCHIVE PARTITION"}
	}
	if n.reason != "" {
		return fault(ErrRefused, "%s", n.reason).of(t.FullName(), p.Name).hint("%s", n.remedy)
	}
	return nil
}

// refuseKind refuses what is no table of rows in files.
func (t *Table) refuseKind() no {
	switch strings.ToUpper(t.Type) {
	case "VIRTUAL_VIEW":
		return no{"this is a view", "change the tables that it selects from"}
	case "MATERIALIZED_VIEW":
		return no{"this is a materialised view", "change the tables that it selects from, and rebuild it"}
	case "INDEX_TABLE":
		return no{"this is an index", "change the table that it is of"}
	}
	if isTrue(t.Parameters["transactional"]) {
		return no{"the table is transactional (ACID)", acidRemedy}
	}
	return no{}
}

// refuseSystem refuses tables whose rows another system keeps account of.
func (t *Table) refuseSystem() no {
	for _, parameter := range []string{"table_type", sparkProvider} {
		v := strings.ToLower(t.Parameters[parameter])
		for _, system := range []string{"iceberg", "delta", "hudi", "paimon"} {
			if v == system || strings.HasPrefix(v, "org.apache."+system) {
				return no{fmt.Sprintf("the table belongs to %s (%s=%s)", system, parameter, t.Parameters[parameter]),
					"use MERGE INTO of that system: it keeps its own list of the files"}
			}
		}
	}
	if v := t.Parameters["storage_handler"]; v != "" {
		return no{"the table is kept by " + v, "change it in the system that keeps it"}
	}
	for name := range t.Parameters {
		if strings.HasPrefix(name, "hoodie.") {
			return no{fmt.Sprintf("the table belongs to hudi (%s)", name), "use MERGE INTO of that system: it keeps its own list of the files"}
		}
	}
	return no{}
}

func (t *Table) refuseProtected() no { return protection("table", t.Parameters) }

// protection refuses what somebody has locked against changes.
func protection(what string, parameters map[string]string) no {
	for name, v := range parameters {
		switch strings.ToUpper(name) {
		case "PROTECT_MODE":
			if v != "" {
				return no{fmt.Sprintf("the %s is protected (%s=%s)", what, name, v), "ALTER TABLE ... DISABLE " + v + " ends that"}
			}
		case "OFFLINE", "NO_DROP", "READ_ONLY":
			if isTrue(v) {
				return no{fmt.Sprintf("the %s is protected (%s=%s)", what, name, v), fmt.Sprintf("whoever has set %s can unset it", name)}
			}
		}
	}
	return no{}
}

// refuseSpark refuses what only Spark can read rightly after a change.
func (t *Table) refuseSpark() no {
	provider := strings.ToLower(t.Parameters[sparkProvider])
	if !sparkPlain[provider] {
		return no{fmt.Sprintf("the table is Spark's of format %s", provider), "hupsert changes Parquet: CREATE TABLE ... USING parquet AS SELECT makes such a table of it"}
	}
	if n := t.Parameters[sparkBuckets]; n != "" && n != "0" && n != "-1" {
		return no{"the table is bucketed (" + sparkBuckets + "=" + n + ")", bucketRemedy}
	}
	if provider == "" || provider == "hive" {
		return no{}
	}
	if !parquetSerDes[t.Format.SerDe] {
		return no{"the table's columns are of types that only Spark knows: the metastore has no columns of it", "make a table of types that Hive knows"}
	}
	if len(t.PartitionBy) > 0 && !strings.EqualFold(t.Parameters[sparkPartitions], "catalog") {
		return no{"Spark finds this table's partitions by listing folders, and not by asking the metastore",
			"ALTER TABLE ... RECOVER PARTITIONS in Spark registers them"}
	}
	return no{}
}

// refusePlace refuses a table without one.
func (t *Table) refusePlace() no {
	if t.Location == "" {
		return no{"the table has no location", "is it a table of files?"}
	}
	return no{}
}

const acidRemedy = "use Hive's MERGE, which keeps its own versions of rows"

const bucketRemedy = "use INSERT OVERWRITE, which puts rows into their buckets"

// refuseStorage refuses files in other formats or in an order that a merge would not keep, of a table or one partition.
func refuseStorage(sd *hmsapi.StorageDescriptor) no {
	switch f := formatOf(sd); {
	case sd == nil:
		return no{"it has no files", "is it a table of files?"}
	case sd.GetNumBuckets() > 0 || len(sd.BucketCols) > 0:
		return no{fmt.Sprintf("it is bucketed (by %s)", strings.Join(sd.BucketCols, ", ")), bucketRemedy}
	case len(skewedBy(sd)) > 0 || sd.GetStoredAsSubDirectories():
		return no{fmt.Sprintf("it is skewed (by %s)", strings.Join(skewedBy(sd), ", ")), "ALTER TABLE ... NOT SKEWED"}
	case !parquetSerDes[f.SerDe]:
		return no{"its files are not Parquet: their SerDe is " + f.SerDe, "INSERT OVERWRITE into a table STORED AS PARQUET makes them so"}
	case !parquetInputs[f.Input]:
		return no{"its files are found by " + f.Input + ", and not by listing its folder", "change it in the system that keeps it"}
	}
	return no{}
}
