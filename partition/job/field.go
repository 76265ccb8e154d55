package job

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/goccy/go-yaml/ast"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/backfill"
	"github.com/hupsert/hupsert/partition/metrics"
	"github.com/hupsert/hupsert/partition/openlineage"
	"github.com/hupsert/hupsert/partition/tracing"
)

// Kind is how a field's value is written.
type Kind int

// The kinds.
const (
	Text     Kind = iota // *string: any text, or one of Choices
	Columns              // *[]string: a list, or a text with commas between
	Texts                // *[]string: a list, or one text
	Switch               // *bool
	Negated              // *bool, which is false where the field is true
	Count                // *int, *int64, or **int64 where none is not 0
	Size                 // *int64: bytes, or a text such as 512MiB
	Duration             // *time.Duration: a text such as 10m
	Ratio                // **float64 from 0 to 1
)

// Field is one setting: a field of a job file, and a flag of the command of the same name.
type Field struct {
	Name    string
	Kind    Kind
	Usage   string // in one line; what stands in `backquotes` is what a value is called
	Default string // what the setting is unless it is given, as a flag would say it
	Choices []string
	Hidden  bool // for diagnosis: neither help nor schema has it
	To      any  // where the value goes; its type goes by Kind
}

// MergeFields are the settings of a merge: the flags of upsert, plan and diff, in the order in which help has them. Values go into the
// library's own structs.
func MergeFields(c *partition.Config, src *partition.Source, o *partition.Options) []Field {
	var all []Field
	for _, group := range [][]Field{fileFields(src), csvFields(&src.CSV), sourceFields(o), rowFields(o), guardFields(o), writeFields(c, o)} {
		all = append(all, group...)
	}
	return all
}

// fileFields say what comes in.
func fileFields(src *partition.Source) []Field {
	return []Field{
		{Name: "from", Kind: Texts, Usage: "source `SRC`: file, folder, glob, or - for standard input; repeatable, later ones win ties", To: &src.From},
		{Name: "format", Usage: "`FORMAT` of the source where its name does not say: parquet, csv, ndjson, arrow",
			Choices: []string{"parquet", "csv", "ndjson", "arrow"}, To: &src.Format},
	}
}

// sourceFields say how what comes in is taken.
func sourceFields(o *partition.Options) []Field {
	return []Field{
		{Name: "partition", Kind: Texts, Usage: "`SPEC` dt=2026-11-20[,region=kr]: all rows belong there; repeatable (default: rows are routed by their columns)", To: &o.Partitions},
		{Name: "source-timezone", Usage: "`ZONE` of source timestamps that have none, such as Asia/Seoul", To: &o.SourceTimezone},
		// Not columns: a type such as decimal(12,2) has a comma of its own.
		{Name: "cast", Kind: Texts, Usage: "`COL:TYPE` of a conversion that is not exact by nature; repeatable", To: &o.Casts},
		{Name: "truncate-timestamps", Kind: Switch, Usage: "cut timestamps to the unit of the file instead of refusing", To: &o.TruncateTimestamps},
		{Name: "rejects", Usage: "`FILE` for bad source rows with their reasons, as NDJSON", To: &o.Rejects},
		{Name: "max-rejects", Kind: Count, Usage: "how many rows may be rejected (default: no limit)", To: &o.MaxRejects},
	}
}

// csvFields say how CSV is written.
func csvFields(c *partition.CSV) []Field {
	return []Field{
		{Name: "csv-delimiter", Usage: "`CHAR` between the fields of CSV: ';', '|', \\t, \\x01 (default: a comma; in .tsv a tab)", To: &c.Delimiter},
		{Name: "csv-quote", Usage: "`CHAR` around fields, or none (default: a double quote)", To: &c.Quote},
		{Name: "csv-escape", Usage: "`CHAR` that makes a quote, delimiter or line end text, such as \\ (default: none; quotes are doubled)", To: &c.Escape},
		// Not columns: a text may have a comma.
		{Name: "csv-null", Kind: Texts, Usage: "`TEXT` that means NULL without quotes; repeatable (default: the empty field)", To: &c.Null},
		{Name: "csv-quoted-null", Kind: Switch, Usage: "what means NULL does so in quotes too", To: &c.QuotedNull},
		{Name: "csv-header", Kind: Negated, Usage: "the first line names the columns", Default: "true", To: &c.NoHeader},
		{Name: "csv-columns", Kind: Columns, Usage: "names of the columns, `COLS`, with --csv-header=false", To: &c.Columns},
		{Name: "csv-encoding", Usage: "`CHARSET`: utf-8, latin1, windows-1252, utf-16, utf-16le, utf-16be (default: by its mark, else utf-8)", To: &c.Encoding},
		{Name: "csv-comment", Usage: "`TEXT` that lines to leave out begin with", To: &c.Comment},
	}
}

// rowFields say what becomes of the rows.
func rowFields(o *partition.Options) []Field {
	policy := func(name string, to *string, usage string, choices ...string) Field {
		return Field{Name: name, Usage: usage, Default: "error", Choices: append([]string{"error"}, choices...), To: to}
	}
	return []Field{
		{Name: "key", Kind: Columns, Usage: "primary-key `COLS`, a.b for a field of a struct (default: see config)", To: &o.Key},
		{Name: "mode", Usage: "`MODE`: upsert, insert, update, delete, mirror, replace or append", Default: "upsert",
			Choices: []string{"upsert", "insert", "update", "delete", "mirror", "replace", "append"}, To: (*string)(&o.Mode)},
		{Name: "unique-within", Usage: "`WINDOW` in which a key stands once: days such as 7d, table, or a filter such as region=kr; rows move between its partitions (default: each partition)", To: &o.UniqueWithin},
		{Name: "order-by", Kind: Columns, Usage: "version columns `COL[:desc]`,...: of two rows with a key the larger wins (default: see config)", To: &o.OrderBy},
		{Name: "ignore-version", Kind: Switch, Usage: "the source wins against a stored row with a higher version", To: &o.IgnoreVersion},
		{Name: "delete-when", Usage: "source rows that are deletes: `COL[=VALUE]`, without a value where COL is true", To: &o.DeleteWhen},
		{Name: "columns", Kind: Columns, Usage: "update only these `COLS`", To: &o.Columns},
		{Name: "except-columns", Kind: Columns, Usage: "update all `COLS` but these", To: &o.ExceptColumns},
		{Name: "keep-null", Kind: Columns, Usage: "`COLS` in which a NULL of the source keeps the old value", To: &o.KeepNull},
		policy("null-keys", &o.NullKeys, "`POLICY` for NULL in a key column: error, match or reject", "match", "reject"),
		policy("source-duplicates", &o.SourceDuplicates, "`POLICY` for a key twice in the source: error, first or last", "first", "last"),
		policy("old-duplicates", &o.OldDuplicates, "`POLICY` for a key twice in the table: error, update-all or repair", "update-all", "repair"),
		policy("missing-columns", &o.MissingColumns, "`POLICY` for columns the source lacks: error or keep", "keep"),
		policy("new-columns", &o.NewColumns, "`POLICY` for columns the table lacks: error, ignore or add", "ignore", "add"),
		policy("stray-rows", &o.StrayRows, "`POLICY` for rows outside --partition: error or reject", "reject"),
		{Name: "allow-float-keys", Kind: Switch, Usage: "floating-point columns may be keys", To: &o.AllowFloatKeys},
	}
}

// guardFields say what stops a merge.
func guardFields(o *partition.Options) []Field {
	return []Field{
		{Name: "max-delete-ratio", Kind: Ratio, Usage: "largest share of a partition's rows that may go, 0 to 1 (default: 0.2 for mirror and replace)", To: &o.MaxDeleteRatio},
		{Name: "allow-empty", Kind: Switch, Usage: "let an empty source mirror or replace a partition", To: &o.AllowEmpty},
		{Name: "require-rows", Kind: Switch, Usage: "an empty source is an error", To: &o.RequireRows},
		{Name: "force", Kind: Switch, Usage: "append inputs that the history already holds", To: &o.Force},
		{Name: "ignore-temporary", Kind: Switch, Usage: "go on where folders of another writer are found", To: &o.IgnoreTemporary},
	}
}

// writeFields say how what was merged is written and published.
func writeFields(c *partition.Config, o *partition.Options) []Field {
	return []Field{
		{Name: "create", Kind: Switch, Usage: "make a table that does not exist yet", To: &o.Create},
		{Name: "partition-by", Kind: Columns, Usage: "partition columns `COL[:TYPE]`,... of a new table", To: &o.PartitionBy},
		{Name: "schema", Usage: "`COLS` of a new table, such as 'id bigint, name string', where the source has no types", To: &o.Schema},
		{Name: "partial", Kind: Switch, Usage: "publish partition by partition; one that fails leaves the others published", To: &o.Partial},
		{Name: "publish", Usage: "how the switch is made, the `WAY`: auto, exchange, rename or location", Default: "auto",
			Choices: []string{"auto", "exchange", "rename", "location"}, To: &c.Publish},
		{Name: "verify", Usage: "`LEVEL` of what is checked before publishing: counts or full", Default: "counts",
			Choices: []string{"counts", "full"}, To: &o.Verify},
		{Name: "lock-wait", Kind: Duration, Usage: "how long to wait for another run, a `DURATION` such as 10m", To: &c.LockWait},
		{Name: "retry", Kind: Count, Usage: "`N` new starts where the partition changed meanwhile", To: &o.Retry},
		{Name: "drop-empty", Kind: Switch, Usage: "remove a partition that loses all rows", To: &o.DropEmpty},
		{Name: "compression", Usage: "`CODEC` of new files: snappy, zstd, gzip or none (default: as the table's files)",
			Choices: []string{"snappy", "zstd", "gzip", "none", "uncompressed"}, To: &o.Compression},
		{Name: "row-group-size", Kind: Count, Usage: "`ROWS` of a new row group (default: as the table's files)", To: &o.RowGroupRows},
		{Name: "target-file-size", Kind: Size, Usage: "files beyond it get no more rows (default 256MiB)", To: &o.TargetFileBytes},
		{Name: "memory", Kind: Size, Usage: "memory in all; what does not fit goes to the temporary folder (default: half of the machine's)", To: &o.Memory},
		{Name: "temp-dir", Usage: "`DIR` for what does not fit into memory (default: TMPDIR)", To: &o.TempDir},
		{Name: "parallel", Kind: Count, Usage: "`N` partitions at once (default: the number of processors; where rows are merged on HDFS, at least 8)", To: &o.Parallel},
		{Name: "route", Usage: "`ROUTE` of column chunks that change, for diagnosis: patch or rewrite (default: what costs least)",
			Choices: []string{"patch", "rewrite"}, Hidden: true, To: (*string)(&o.Route)},
	}
}

// BackfillFields are the settings of a backfill: the flags of the command, in the order in which help has them. Those of a merge
// are among them, but for what a backfill does in any case or can't do.
func BackfillFields(c *partition.Config, src *partition.Source, o *partition.Options, b *backfill.Options) []Field {
	own := []Field{
		{Name: "from", Kind: Texts, Usage: "`TEMPLATE` of files, folders or globs: in/{dt}/*.parquet; repeatable, later ones win ties", To: &src.From},
		// Not columns: the commas are between values.
		{Name: "range", Kind: Texts, Usage: "values of a partition column, `COL=FROM..TO` or COL=VALUE,VALUE; repeatable, one for each column", To: &b.Ranges},
		{Name: "partition", Kind: Texts, Usage: "only `SPEC` dt=2026-11-20[,region=kr] of the range; repeatable", To: &o.Partitions},
		{Name: "require-files", Kind: Switch, Usage: "a partition without files is an error, not left out", To: &b.RequireFiles},
		{Name: "redo", Kind: Switch, Usage: "merge again what is done from the same files", To: &b.Redo},
		{Name: "fail-fast", Kind: Switch, Usage: "begin nothing more when a partition has failed", To: &b.FailFast},
		{Name: "together", Kind: Count, Usage: "`N` partitions are published in one commit, at most (default 64)", To: &b.Together},
	}
	return append(own, slices.DeleteFunc(MergeFields(c, src, o), func(f Field) bool {
		return f.Name == "from" || f.Name == "partition" || f.Name == "unique-within" || f.Name == "partial"
	})...)
}

// MetricsFields say whom the run's metrics are told.
func MetricsFields(t *metrics.Target) []Field {
	return []Field{
		{Name: "metrics-textfile", Usage: "`FILE` (.prom) for the node exporter's textfile collector, written when the run ends", To: &t.File},
		{Name: "metrics-push", Usage: "`URL` of a Prometheus Pushgateway that is told when the run ends", To: &t.Gateway},
	}
}

// TelemetryFields say who is told of the run while it goes on: lineage and traces.
func TelemetryFields(l *openlineage.Target, t *tracing.Target) []Field {
	return []Field{
		{Name: "lineage", Usage: "where OpenLineage's events go, the `URL` of a server, a file to add lines to, or console (default: OPENLINEAGE_URL)", To: &l.To},
		{Name: "lineage-namespace", Usage: "`NAME` of the job's namespace (default: OPENLINEAGE_NAMESPACE, else default)", To: &l.Namespace},
		{Name: "lineage-job", Usage: "what the job is called, a `NAME` (default: hupsert.COMMAND.TABLE)", To: &l.Job},
		{Name: "lineage-nominal-time", Usage: "the `TIME` for which the run was planned, 2026-11-20T00:00:00Z (default: what Airflow says)", To: &l.NominalTime},
		{Name: "lineage-timeout", Kind: Duration, Usage: "how long a run that has ended waits for a server, a `DURATION` (default 5s)", To: &l.Timeout},
		{Name: "trace", Usage: "`URL` of an OpenTelemetry collector that takes spans by OTLP over HTTP, http://host:4318 (default: OTEL_EXPORTER_OTLP_ENDPOINT)", To: &t.URL},
	}
}

// PlaceFields are the settings of every command on a table: where its state is, and how clusters are reached.
func PlaceFields(stateDir *string, h *partition.Hadoop) []Field {
	return []Field{
		{Name: "state-dir", Usage: "`DIR` where staging, history, journal and locks are kept, on the table's file system (default <parent>/.hupsert/<table>)", To: stateDir},
		{Name: "hadoop-user", Usage: "`NAME` on HDFS and for a metastore without Kerberos (default: HADOOP_USER_NAME, else yours)", To: &h.User},
		{Name: "keytab", Usage: "`FILE` with the Kerberos keys of --principal (default: the ticket cache)", To: &h.Keytab},
		{Name: "principal", Usage: "Kerberos `NAME`, such as etl@EXAMPLE.COM, of --keytab", To: &h.Principal},
		{Name: "ignore-acl", Kind: Switch, Usage: "go on where a partition's access control list can't be carried over", To: &h.IgnoreACL},
		{Name: "ignore-set-back", Kind: Switch, Usage: "go on from where somebody has set a partition back in the metastore", To: &h.IgnoreSetBack},
	}
}

// read implements value.
func (f *Field) read(r *reader, n ast.Node) {
	switch f.Kind {
	case Columns, Texts:
		list, ok := r.texts(n, f.Name)
		if !ok {
			return
		}
		if _, isList := n.(*ast.SequenceNode); f.Kind == Columns && !isList {
			list = splitAll(list)
		}
		*f.To.(*[]string) = list
	default:
		text, ok := r.text(n, f.Name)
		if !ok {
			return
		}
		if err := f.set(text); err != nil {
			r.problem(n, "", "%s: %v, not %q", f.Name, err, text)
		}
	}
}

// set takes a value that is no list.
func (f *Field) set(text string) (err error) {
	switch to := f.To.(type) {
	case *string:
		if len(f.Choices) > 0 && !contains(f.Choices, text) {
			return fmt.Errorf("want %s", oneOf(f.Choices))
		}
		*to = text
	case *bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("want true or false")
		}
		*to = (text == "true") != (f.Kind == Negated)
	case *int:
		var n int64
		n, err = wholeNumber(text, math.MaxInt)
		*to = int(n)
	case *int64:
		if f.Kind == Size {
			*to, err = byteSize(text)
		} else {
			*to, err = wholeNumber(text, math.MaxInt64)
		}
	case **int64:
		var n int64
		if n, err = wholeNumber(text, math.MaxInt64); err == nil {
			*to = &n
		}
	case **float64:
		v, perr := strconv.ParseFloat(text, 64)
		if perr != nil || !(v >= 0 && v <= 1) {
			return fmt.Errorf("want a number from 0 to 1")
		}
		*to = &v
	case *time.Duration:
		d, perr := time.ParseDuration(text)
		if perr != nil || d < 0 {
			return fmt.Errorf("want a duration such as 10m or 90s")
		}
		*to = d
	}
	return err
}

func wholeNumber(text string, most int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("want a whole number")
	}
	return n, nil
}

func byteSize(text string) (int64, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<62 {
		return 0, fmt.Errorf("want a size such as 512MiB or 2GB")
	}
	return int64(n), nil
}

// splitAll splits texts at their commas. What is left is never nil: no columns is a statement too.
func splitAll(list []string) []string {
	out := []string{}
	for _, text := range list {
		for _, item := range strings.Split(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				out = append(out, item)
			}
		}
	}
	return out
}

// schema implements value.
func (f *Field) schema() schema {
	s := schema{"description": plainUsage(f.Usage)}
	switch f.Kind {
	case Columns, Texts:
		s["anyOf"] = []schema{{"type": "string"}, {"type": "array", "items": schema{"type": "string"}}}
	case Switch, Negated:
		s["anyOf"] = []schema{{"type": "boolean"}, variableSchema}
	case Count:
		s["anyOf"] = []schema{{"type": "integer", "minimum": 0}, variableSchema}
	case Size:
		s["anyOf"] = []schema{{"type": "integer", "minimum": 0}, {"type": "string"}}
	case Ratio:
		s["anyOf"] = []schema{{"type": "number", "minimum": 0, "maximum": 1}, variableSchema}
	default:
		s["type"] = "string"
		if len(f.Choices) > 0 {
			delete(s, "type")
			s["anyOf"] = []schema{{"enum": f.Choices}, variableSchema}
		}
	}
	if f.Default != "" {
		s["default"] = f.Default
		if f.Kind == Negated {
			s["default"] = f.Default == "true"
		}
	}
	return s
}

// plainUsage is a usage without its backquotes, for texts in which flags are fields.
func plainUsage(usage string) string { return strings.NewReplacer("`", "", "--", "").Replace(usage) }

func contains(list []string, text string) bool {
	for _, item := range list {
		if item == text {
			return true
		}
	}
	return false
}

// oneOf lists choices as a sentence does.
func oneOf(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}
