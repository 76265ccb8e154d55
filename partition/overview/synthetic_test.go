package overview

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hupsert/hupsert/partition"
)

// taken is when the tests' overviews are of.
var taken = time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)

// runName is the name of a run that began at a time.
func runName(at time.Time, n int) string {
	return at.UTC().Format("20060102T150405Z") + fmt.Sprintf("-%04x", n%65536)
}

// synthetic is a table of one partition a day, some of which each of many runs changed, mostly young ones. The first runs did not
// write down what they did, some failed.
func synthetic(days, runs int) *partition.Overview {
	random := rand.New(rand.NewPCG(1, 2))
	o := &partition.Overview{Table: "hdfs://warehouse/shop.db/orders", Time: taken,
		PartitionBy: []partition.ColumnInfo{{Name: "dt", Type: "date"}}}
	first := taken.Truncate(24*time.Hour).AddDate(0, 0, 1-days)
	for d := range days {
		date := first.AddDate(0, 0, d).Format(time.DateOnly)
		rows := 90_000 + int64(d*20) + random.Int64N(30_000)
		p := partition.PartitionOverview{Partition: "dt=" + date, Spec: partition.Spec{{Column: "dt", Value: date}}, Live: true,
			Rows: rows, Bytes: rows * 42, Files: 1 + random.IntN(6)}
		p.Versions = []partition.Version{{Partition: p.Partition, Run: "origin", Rows: rows, Bytes: rows * 40}}
		o.Partitions = append(o.Partitions, p)
	}
	begin := first.AddDate(0, 0, min(days/3, 60))
	for n := range runs {
		at := begin.Add(time.Duration(float64(n+1) / float64(runs+1) * float64(taken.Sub(begin))))
		name := runName(at, n)
		today := int(at.Sub(first).Hours() / 24)
		if n%97 == 50 || n == runs-1 {
			o.Failures = append([]partition.FailedRun{failedRun(name, at, o.Partitions[min(today, days-1)].Partition)}, o.Failures...)
			continue
		}
		for back := range 1 + random.IntN(4) {
			d := min(days-1, today) - back*back*random.IntN(5)
			if d >= 0 {
				addVersion(&o.Partitions[d], random, name, at, n > runs/10)
			}
		}
	}
	for i := range o.Partitions {
		if p := &o.Partitions[i]; len(p.Versions) == 1 {
			p.Versions = nil
		} else {
			last := &p.Versions[len(p.Versions)-1]
			last.Live, p.Rows, p.Bytes = true, last.Rows, last.Bytes
		}
	}
	return o
}

func addVersion(p *partition.PartitionOverview, random *rand.Rand, run string, at time.Time, known bool) {
	before := p.Versions[len(p.Versions)-1]
	inserted, updated, deleted := random.Int64N(3000), random.Int64N(9000), random.Int64N(400)
	if before.Run == run {
		return
	}
	v := partition.Version{Partition: p.Partition, Version: before.Version + 1, Run: run, Time: at, Command: "upsert", Mode: "upsert",
		Rows: before.Rows + inserted - deleted, Bytes: before.Bytes + inserted*43}
	if random.IntN(40) == 0 {
		v.Mode = "mirror"
	}
	if known {
		size := before.Bytes
		v.Work = &partition.Work{Rows: partition.Rows{Old: before.Rows, Inserted: inserted, Updated: updated, Deleted: deleted, Out: v.Rows},
			Bytes:   partition.Bytes{Kept: size / 2, Copied: size / 4, Patched: size / int64(8+random.IntN(8)), Rewritten: size / int64(12+random.IntN(30)), Added: inserted * 43},
			Seconds: partition.Seconds{Probe: random.Float64() / 8, Write: random.Float64() / 2}, Elapsed: .2 + random.Float64()*4}
	}
	p.Versions = append(p.Versions, v)
}

func failedRun(run string, at time.Time, part string) partition.FailedRun {
	e := &partition.ErrorReport{Kind: partition.KindDuplicateKey, Message: "2 source rows have the key order_id=4711 and equal versions",
		Hint: "--source-duplicates last takes the later one"}
	return partition.FailedRun{Run: run, Time: at, Command: "upsert", Mode: "upsert", Elapsed: .8,
		Partitions: []partition.FailedPartition{{Partition: part, Status: partition.Failed, Error: e}, {Partition: "dt=2026-01-01", Status: partition.Undone}}}
}

// regions is a table without dates.
func regions() *partition.Overview {
	o := &partition.Overview{Table: "./warehouse/customers", Time: taken,
		PartitionBy: []partition.ColumnInfo{{Name: "region", Type: "string"}, {Name: "bucket", Type: "int"}}}
	random := rand.New(rand.NewPCG(3, 4))
	for _, region := range []string{"de", "fr", "jp", "kr", "us", "</script><script>alert(1)</script>", `"><img src=x onerror=alert(2)>`} {
		for b := range 32 {
			spec := partition.Spec{{Column: "region", Value: region}, {Column: "bucket", Value: fmt.Sprint(b)}}
			p := partition.PartitionOverview{Partition: spec.Path(), Spec: spec, Live: true, Files: 1}
			p.Versions = []partition.Version{{Partition: p.Partition, Run: "origin", Absent: true}}
			for n := range random.IntN(5) {
				at := taken.AddDate(0, 0, n*7-40)
				addVersion(&p, random, runName(at, n), at, true)
			}
			last := p.Versions[len(p.Versions)-1]
			p.Rows, p.Bytes = last.Rows, last.Bytes
			o.Partitions = append(o.Partitions, p)
		}
	}
	o.Partitions[3].Unavailable = "part-0.parquet: its footer is damaged"
	o.Staged = []partition.StagedRun{{Run: runName(taken, 7), Time: taken, Rows: 120, Partitions: make([]partition.StagedPartition, 2)}}
	return o
}
