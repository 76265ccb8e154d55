package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

func (s *session) upsertCommand() *cobra.Command {
	var j job
	cmd := &cobra.Command{
		Use:   "upsert TABLE --from SRC...",
		Short: "Merge a source into the table and publish it",
		Long: `Merges the rows of a source into the partitions they belong to, and publishes
all of them in one commit. Rows are matched by the key: what is in both is
updated, what is only in the source is inserted, the rest is kept. Nothing is
published unless everything was merged and verified; what was live before is
kept for rollback.

Where the system can exchange two folders in one step (Linux), a reader of a
partition sees the old files or the new ones. Elsewhere, as on HDFS (--publish
rename), there are milliseconds in which the partition's folder is not there: a
Spark session that looks just then can answer zero rows until REFRESH TABLE.
Partitions are switched one after the other; a crash in between is finished by
the next run or by recover. Engines that cache file listings need their REFRESH.

A table of a Hive Metastore (hive://host:9083/db.table) is published by
location: the new files go to a folder of their own, and then the metastore is
told of all partitions of the run at once. A Spark query that runs ends on the
old rows, the next one sees the new ones. The old path of a partition that was
published so holds old rows: read it through the metastore.`,
		Example: `  hupsert upsert ./orders --key order_id --from new.parquet
  hupsert upsert ./orders --key order_id --order-by seq --delete-when op=D --from feed.csv
  hupsert upsert ./orders --mode mirror --partition dt=2026-11-20 --from 'all/*.parquet'
  zcat day.csv.gz | hupsert upsert ./orders --from - --format csv
  hupsert upsert ./orders --from new.parquet --stage-only
  hupsert upsert ./orders --create --partition-by dt:date --key order_id --from day.parquet

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			if j.dryRun {
				return s.plan(cmd.Context(), args[0], &j, "-")
			}
			ctx, telling, err := s.tell(cmd.Context(), "upsert", args[0], &j)
			if err != nil {
				s.printFailure(args[0], j.options.Mode, false, err)
				return err
			}
			report, err := s.upsert(ctx, args[0], &j, telling)
			telling.end(ctx, report, err)
			return err
		},
	}
	j.bind(cmd)
	cmd.Flags().BoolVar(&j.options.StageOnly, "stage-only", false, "stop after verification: look at the staged files, then publish or discard")
	cmd.Flags().BoolVar(&j.dryRun, "dry-run", false, "the same as plan: write nothing")
	bindFields(cmd.Flags(), j.tellingFields())
	s.tableFlags(cmd)
	return cmd
}

// upsert runs it and prints its report, which is nil where the table could not be opened.
func (s *session) upsert(ctx context.Context, name string, j *job, to *telling) (*partition.Report, error) {
	table, err := s.openJob(ctx, name, j)
	if err != nil {
		s.printFailure(name, j.options.Mode, false, err)
		return nil, err
	}
	defer func() { _ = table.Close() }() // what is done is done; connections end with the process at the latest
	if err := to.check(ctx, table); err != nil {
		s.printFailure(name, j.options.Mode, false, err)
		return nil, err
	}
	stop := s.watch(gaugeOf(j.config.Progress))
	report, err := table.Upsert(ctx, j.source, j.options)
	stop()
	if report != nil {
		s.printReport(report)
		s.keyNote(ctx, table, report, &j.options)
	}
	return report, err
}

// keyNote says of a table that --create makes that its key is not declared with it: the next run would need it once more.
func (s *session) keyNote(ctx context.Context, table *partition.Table, r *partition.Report, o *partition.Options) {
	if s.quiet || s.output == "json" || !o.Create || len(o.Key) == 0 || !hasPublished(r) {
		return
	}
	if c, err := table.ReadConfig(ctx); err != nil || len(c.Key) > 0 {
		return // who can't read it is told by the next run
	}
	fmt.Fprintln(s.stdout, "note: the key is not declared with the table, so each run needs --key; once:")
	args := append([]string{"config", r.Table, "--set", "key=" + strings.Join(o.Key, ",")}, s.sameTable()...)
	fmt.Fprintf(s.stdout, "      %s\n", s.line(len("      "), args))
}

// openJob opens the table of an upsert or plan and connects the source to standard input.
func (s *session) openJob(ctx context.Context, name string, j *job) (*partition.Table, error) {
	if len(j.source.From) == 0 {
		return nil, usageError{errNoSource, "--from FILE, folder or glob; --from - reads standard input"}
	}
	if j.options.Memory > 0 {
		debug.SetMemoryLimit(j.options.Memory)
	}
	j.source.Stdin = interruptible(ctx, s.stdin)
	j.config.Progress = new(partition.Progress)
	s.configure(&j.config)
	return partition.Open(ctx, name, j.config)
}

// interruptible lets a blocking read of a terminal or pipe end with the context. The goroutine that
// sits in the read ends with the process.
func interruptible(ctx context.Context, in io.Reader) io.Reader {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { r.CloseWithError(context.Cause(ctx)) })
	started := false
	return readerFunc(func(p []byte) (int, error) {
		if !started { // on the first read, so that nobody else's standard input is taken
			started = true
			go func() {
				_, err := io.Copy(w, in)
				w.CloseWithError(err)
			}()
		}
		return r.Read(p)
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
