//go:build unix

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
)

// pathOf is the path of a URL on HDFS.
func pathOf(raw string) (string, error) {
	_, name, err := hdfs.Resolve(raw, hadoop.Conf{})
	return name, err
}

// smallParts is how many partitions the tables of small upserts have.
const smallParts = 100

// smallResult is one kind of small upsert.
type smallResult struct {
	Way        string
	Partitions int
	Costs      []cost
	Calls      int64 // of the namenode, in the last run
}

// small measures upserts that change next to nothing: what they take is what a run takes.
func (b *cluster) small(ctx context.Context, rounds int) ([]smallResult, error) {
	const folder = "/small"
	tables := map[string]string{"rename": b.services.HDFS + folder + "/plain", "location": "hive://" + b.services.Metastore + "/bench.small"}
	if err := b.fsys.Mkdir(ctx, folder, 0o755); err != nil {
		return nil, err
	}
	columns := []metastore.Column{{Name: "id", Type: "bigint"}, {Name: "v", Type: "bigint"}}
	if err := b.register(ctx, "small", folder+"/hive", columns, metastore.Column{Name: "part", Type: "int"}, nil); err != nil {
		return nil, err
	}
	first, err := b.smallRows("first", smallParts, 10, 0)
	if err != nil {
		return nil, err
	}
	for way, flags := range map[string][]string{"rename": {"--create", "--partition-by", "part:int", "--schema", "id bigint, v bigint"}, "location": nil} {
		if _, _, err := b.timed(ctx, append(b.smallUpsert(tables[way], first), flags...)); err != nil {
			return nil, err
		}
	}
	results := []smallResult{
		{Way: "rename", Partitions: 1}, {Way: "location", Partitions: 1},
		{Way: "rename", Partitions: smallParts}, {Way: "location", Partitions: smallParts},
	}
	for round := range rounds {
		for i := range results {
			r := &results[i]
			source, err := b.smallRows("next", r.Partitions, 1, round+1)
			if err != nil {
				return nil, err
			}
			c, said, err := b.timed(ctx, b.smallUpsert(tables[r.Way], source))
			if err != nil {
				return nil, err
			}
			r.Costs, r.Calls = append(r.Costs, c), said.number(`calls=(\d+)`)
			fmt.Fprintf(os.Stderr, "small round %d  %-9s %3d partitions %7.2f s wall  %6.2f s CPU  %d calls\n",
				round+1, r.Way, r.Partitions, c.Wall.Seconds(), c.CPU.Seconds(), r.Calls)
		}
	}
	return results, nil
}

func (b *cluster) smallUpsert(table, source string) []string {
	return []string{b.binary, "upsert", table, "--from", source, "--key", "id", "--output", "json", "--verbose", "--no-progress"}
}

// smallRows writes a source with rows of each partition.
func (b *cluster) smallRows(name string, parts, rows, value int) (string, error) {
	var text strings.Builder
	for p := range parts {
		for i := range rows {
			fmt.Fprintf(&text, "{\"id\":%d,\"part\":%d,\"v\":%d}\n", i, p, value)
		}
	}
	file := filepath.Join(b.work, name+".ndjson")
	return file, os.WriteFile(file, []byte(text.String()), 0o644)
}

func printSmall(w io.Writer, results []smallResult) error {
	t := newTable("publish", "partitions", "wall s", "CPU s", "calls of the namenode")
	for _, r := range results {
		t.add(r.Way, strconv.Itoa(r.Partitions), seconds(wallOf(r.Costs)), seconds(cpuOf(r.Costs)), strconv.FormatInt(r.Calls, 10))
	}
	return t.write(w)
}

// printHDFS writes a line per case and tool, the wall clock also in terms of the copy.
func printHDFS(w io.Writer, results []hdfsResult) error {
	copied, want := map[string]time.Duration{}, map[string]string{}
	for _, r := range results {
		if r.Tool == "copy" {
			copied[r.Case] = wallOf(r.Costs)
		} else {
			want[r.Case] = cmp.Or(want[r.Case], r.Rows)
		}
	}
	t := newTable("change", "tool", "wall s", "x copy", "CPU s", "peak MB", "read MB", "probed MB", "rows")
	for _, r := range results {
		verdict := ""
		if r.Rows != "" {
			verdict = "equal"
			if r.Rows != want[r.Case] {
				verdict = "DIFFER"
			}
		}
		t.add(r.Case, r.Tool, seconds(wallOf(r.Costs)), ratio(wallOf(r.Costs), copied[r.Case]), seconds(cpuOf(r.Costs)), megabytes(peakOf(r.Costs)),
			megabytes(r.Wire), megabytes(r.Probed), verdict)
	}
	return t.write(w)
}
