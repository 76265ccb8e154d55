package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hupsert/hupsert/partition"
)

// job is what upsert and plan are told by their flags.
type job struct {
	config  partition.Config
	source  partition.Source
	options partition.Options
	dryRun  bool
}

// bind adds the flags that upsert and plan share. Each is a field of the library's options.
func (j *job) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	o := &j.options

	// What comes in.
	f.StringArrayVar(&j.source.From, "from", nil, "source `SRC`: file, folder, glob, or - for standard input; repeatable, later ones win ties")
	f.StringVar(&j.source.Format, "format", "", "`FORMAT` of the source where its name does not say: parquet, csv, ndjson, arrow")
	j.bindCSV(f)
	f.StringArrayVar(&o.Partitions, "partition", nil, "`SPEC` dt=2026-11-20[,region=kr]: all rows belong there; repeatable (default: rows are routed by their columns)")
	f.StringVar(&o.SourceTimezone, "source-timezone", "", "`ZONE` of source timestamps that have none, such as Asia/Seoul")
	// Not a list: a type such as decimal(12,2) has a comma of its own.
	f.StringArrayVar(&o.Casts, "cast", nil, "`COL:TYPE` of a conversion that is not exact by nature; repeatable")
	f.BoolVar(&o.TruncateTimestamps, "truncate-timestamps", false, "cut timestamps to the unit of the file instead of refusing")
	f.StringVar(&o.Rejects, "rejects", "", "`FILE` for bad source rows with their reasons, as NDJSON")
	f.Var(optionalCount{&o.MaxRejects}, "max-rejects", "how many rows may be rejected (default: no limit)")

	// What becomes of it.
	columns(f, &o.Key, "key", "primary-key `COLS`, a.b for a field of a struct (default: see config)")
	f.StringVar((*string)(&o.Mode), "mode", "upsert", "`MODE`: upsert, insert, update, delete, mirror, replace or append")
	columns(f, &o.OrderBy, "order-by", "version columns `COL[:desc]`,...: of two rows with a key the larger wins (default: see config)")
	f.BoolVar(&o.IgnoreVersion, "ignore-version", false, "the source wins against a stored row with a higher version")
	f.StringVar(&o.DeleteWhen, "delete-when", "", "source rows that are deletes: `COL[=VALUE]`, without a value where COL is true")
	columns(f, &o.Columns, "columns", "update only these `COLS`")
	columns(f, &o.ExceptColumns, "except-columns", "update all `COLS` but these")
	columns(f, &o.KeepNull, "keep-null", "`COLS` in which a NULL of the source keeps the old value")
	f.StringVar(&o.NullKeys, "null-keys", "error", "`POLICY` for NULL in a key column: error, match or reject")
	f.StringVar(&o.SourceDuplicates, "source-duplicates", "error", "`POLICY` for a key twice in the source: error, first or last")
	f.StringVar(&o.OldDuplicates, "old-duplicates", "error", "`POLICY` for a key twice in the table: error, update-all or repair")
	f.StringVar(&o.MissingColumns, "missing-columns", "error", "`POLICY` for columns the source lacks: error or keep")
	f.StringVar(&o.NewColumns, "new-columns", "error", "`POLICY` for columns the table lacks: error, ignore or add")
	f.StringVar(&o.StrayRows, "stray-rows", "error", "`POLICY` for rows outside --partition: error or reject")
	f.BoolVar(&o.AllowFloatKeys, "allow-float-keys", false, "floating-point columns may be keys")

	// What stops it.
	f.Var(ratio{&o.MaxDeleteRatio}, "max-delete-ratio", "largest share of a partition's rows that may go, 0 to 1 (default: 0.2 for mirror and replace)")
	f.BoolVar(&o.AllowEmpty, "allow-empty", false, "let an empty source mirror or replace a partition")
	f.BoolVar(&o.RequireRows, "require-rows", false, "an empty source is an error")
	f.BoolVar(&o.Force, "force", false, "append inputs that the history already holds")
	f.BoolVar(&o.IgnoreTemporary, "ignore-temporary", false, "go on where folders of another writer are found")

	// How it is written and published.
	f.BoolVar(&o.Create, "create", false, "make a table that does not exist yet")
	columns(f, &o.PartitionBy, "partition-by", "partition columns `COL[:TYPE]`,... of a new table")
	f.StringVar(&o.Schema, "schema", "", "`COLS` of a new table, such as 'id bigint, name string', where the source has no types")
	f.BoolVar(&o.Partial, "partial", false, "publish partition by partition; one that fails leaves the others published")
	f.StringVar(&j.config.Publish, "publish", "auto", "how the switch is made, the `WAY`: auto, exchange, rename or location")
	f.StringVar(&o.Verify, "verify", "counts", "`LEVEL` of what is checked before publishing: counts or full")
	f.DurationVar(&j.config.LockWait, "lock-wait", 0, "how long to wait for another run, a `DURATION` such as 10m")
	f.IntVar(&o.Retry, "retry", 0, "`N` new starts where the partition changed meanwhile")
	f.BoolVar(&o.DropEmpty, "drop-empty", false, "remove a partition that loses all rows")
	f.StringVar(&o.Compression, "compression", "", "`CODEC` of new files: snappy, zstd, gzip or none (default: as the table's files)")
	f.Int64Var(&o.RowGroupRows, "row-group-size", 0, "`ROWS` of a new row group (default: as the table's files)")
	f.Var((*byteSize)(&o.TargetFileBytes), "target-file-size", "files beyond it get no more rows (default 256MiB)")
	resources(f, &o.Memory, &o.TempDir, &o.Parallel)
	f.StringVar((*string)(&o.Route), "route", "", "`ROUTE` of column chunks that change, for diagnosis: patch or rewrite (default: what costs least)")
	_ = f.MarkHidden("route") // there is such a flag
}

// bindCSV adds the flags that say how CSV is written.
func (j *job) bindCSV(f *pflag.FlagSet) {
	c := &j.source.CSV
	f.StringVar(&c.Delimiter, "csv-delimiter", "", "`CHAR` between the fields of CSV: ';', '|', \\t, \\x01 (default: a comma; in .tsv a tab)")
	f.StringVar(&c.Quote, "csv-quote", "", "`CHAR` around fields, or none (default: a double quote)")
	f.StringVar(&c.Escape, "csv-escape", "", "`CHAR` that makes a quote, delimiter or line end text, such as \\ (default: none; quotes are doubled)")
	// Not a list: a text may have a comma.
	f.StringArrayVar(&c.Null, "csv-null", nil, "`TEXT` that means NULL without quotes; repeatable (default: the empty field)")
	f.BoolVar(&c.QuotedNull, "csv-quoted-null", false, "what means NULL does so in quotes too")
	f.Var(not{&c.NoHeader}, "csv-header", "the first line names the columns")
	f.Lookup("csv-header").NoOptDefVal = "true"
	columns(f, &c.Columns, "csv-columns", "names of the columns, `COLS`, with --csv-header=false")
	f.StringVar(&c.Encoding, "csv-encoding", "", "`CHARSET`: utf-8, latin1, windows-1252, utf-16, utf-16le, utf-16be (default: by its mark, else utf-8)")
	f.StringVar(&c.Comment, "csv-comment", "", "`TEXT` that lines to leave out begin with")
}

// columns is a flag for a list that is comma-separated, and adds up where it is repeated.
func columns(f *pflag.FlagSet, to *[]string, name, usage string) {
	f.StringSliceVar(to, name, nil, usage)
}

// resources are the flags of what a command may take of the machine.
func resources(f *pflag.FlagSet, memory *int64, tempDir *string, parallel *int) {
	f.Var((*byteSize)(memory), "memory", "memory in all; what does not fit goes to the temporary folder (default: half of the machine's)")
	f.StringVar(tempDir, "temp-dir", "", "`DIR` for what does not fit into memory (default: TMPDIR)")
	f.IntVar(parallel, "parallel", 0, "`N` partitions at once (default: the number of processors; where rows are merged on HDFS, at least 8)")
}
