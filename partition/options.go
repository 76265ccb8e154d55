package partition

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge"
)

// Mode says what a run does with rows by where they are.
type Mode = merge.Mode

// The modes. The zero value is Upsert.
const (
	Upsert  = merge.Upsert  // update what is there, insert what is not
	Insert  = merge.Insert  // insert what is not there, keep what is
	Update  = merge.Update  // update what is there, ignore what is not
	Delete  = merge.Delete  // delete the keys of the source
	Mirror  = merge.Mirror  // make the partition hold the source's keys and no others
	Replace = merge.Replace // the source becomes the partition
	Append  = merge.Append  // add the source's rows
)

// Options says how a source is merged into a table. Each field is a flag of the command, in the same
// grammar. The zero value is an upsert with the key and order that the table's configuration
// declares.
type Options struct {
	// Key is the primary key: column names, "a.b" for a field of a struct. Empty: the table's
	// configuration. Replace and Append need none.
	Key []string
	// Partitions names the partitions all rows belong to, as "dt=2026-11-20,region=kr". One that
	// names every partition column is static: rows need no partition columns then. Empty: rows are
	// routed by their own partition columns.
	Partitions []string
	// Mode is what is done with rows by where they are. Zero: Upsert.
	Mode Mode
	// OrderBy is the version columns, "updated_at" or "updated_at:desc". Empty: the configuration.
	OrderBy []string
	// DeleteWhen marks source rows as deletes: "COL" (true) or "COL=VALUE".
	DeleteWhen string

	// UniqueWithin is where a key may stand once: in the partitions within so many days of each other ("7d"), in all of the
	// "table", or in those that match a filter ("region=kr"). A source row whose key is in another one of them moves: it is
	// deleted there and inserted here, in one commit. Empty: a key is unique within its partition. Excludes Mirror, Replace, Append
	// and Partial.
	UniqueWithin string

	IgnoreVersion      bool   // the source wins against a stored row with a higher version
	AllowFloatKeys     bool   // floats may be keys: NaN equals NaN, -0.0 equals 0.0
	SourceTimezone     string // IANA name of the zone of source timestamps without one; "": mixing is an error
	TruncateTimestamps bool   // a timestamp finer than the file's unit is cut, not refused
	Force              bool   // append inputs that the history already holds

	// Create makes a table that does not exist. PartitionBy ("dt:date", "region") is required with
	// it unless the configuration has it or Unpartitioned is meant by an empty, non-nil list; Schema
	// is "id bigint, amount decimal(12,2)", needed where the source's format has no types.
	Create      bool
	PartitionBy []string
	Schema      string

	Columns       []string // only these columns of old rows are updated
	ExceptColumns []string // these are not
	KeepNull      []string // in these a NULL of the source keeps the old value

	// What is done in cases that are errors unless said otherwise. "" is "error".
	NullKeys         string   // match or reject
	SourceDuplicates string   // first or last
	OldDuplicates    string   // update-all or repair
	MissingColumns   string   // keep
	NewColumns       string   // ignore or add
	StrayRows        string   // reject
	Casts            []string // "COL:TYPE", for conversions that are not exact by nature

	MaxDeleteRatio *float64 // largest share of a partition's rows that may go; nil: 0.2 for Mirror and Replace, else no limit
	AllowEmpty     bool     // Mirror and Replace may have an empty source
	RequireRows    bool     // an empty source is an error
	MaxRejects     *int64   // rejected rows before the run stops; nil: no limit
	Rejects        string   // local file that rejected rows are written to, as NDJSON; "": a row that does not parse is an error

	IgnoreTemporary bool // go on where _temporary or .hive-staging folders show another writer
	DropEmpty       bool // a partition that loses all rows is removed, not left with an empty file
	Partial         bool // publish partition by partition; a failure leaves the others published
	// StageOnly stops when everything is verified and sealed: nothing is published, and the run waits,
	// without a lock, for Publish or Discard. Excludes Partial.
	StageOnly bool
	Retry     int // new starts after a conflict

	Verify   string // what is checked on staged files: counts (default) or full
	Parallel int    // partitions at once; 0: as many as there are processors, and on HDFS at least 8
	// Memory is about how many bytes the run may take, the source included; what does not fit goes to a
	// file without a name in TempDir. 0: half of what the machine, or the process's control group, has.
	Memory  int64
	TempDir string // "": the system's folder for temporary files (TMPDIR)

	Compression     string // codec of new files: snappy, zstd, gzip, none; "": as the old files, else snappy
	RowGroupRows    int64  // rows of a new row group; 0: as the old files, else 1,000,000
	TargetFileBytes int64  // a file beyond it gets no inserts; 0: 256 MiB

	// Route forces the way of column chunks that change, for tests and diagnosis: merge.Patch patches pages wherever they allow
	// it, merge.Rewrite encodes every chunk of a row group that changes. "": what costs least.
	Route merge.Route

	// Command is recorded in the history as what made the version. "": "upsert".
	Command string
}

// What Options.Verify can be.
const (
	VerifyCounts = "counts" // footers parse and the rows add up
	// VerifyFull reads the whole staged partition: every page decodes, what was copied is what it was
	// copied from, and merging the source once more changes nothing (not for Replace and Append).
	VerifyFull = "full"
)

func (o *Options) setDefaults(c TableConfig) {
	if o.Mode == "" {
		o.Mode = Upsert
	}
	if len(o.Key) == 0 {
		o.Key = c.Key
	}
	if len(o.OrderBy) == 0 && o.Mode.Keyed() {
		o.OrderBy = c.OrderBy
	}
	if o.Verify == "" {
		o.Verify = VerifyCounts
	}
	if o.StrayRows == "" {
		o.StrayRows = merge.PolicyError
	}
	if o.Command == "" {
		o.Command = "upsert"
	}
}

// parsed is options in the form the layers below take.
type parsed struct {
	merge  merge.Options
	casts  map[string]string
	window *window
}

// Faults are the fields that make no sense, by themselves or together, each error beginning with the name of one. What can only be
// told with the table at hand is not looked for.
func (o Options) Faults() []error {
	o.setDefaults(TableConfig{})
	_, errs := o.parse()
	var out []error
	for _, err := range errs {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			out = append(out, many.Unwrap()...)
			continue
		}
		out = append(out, err)
	}
	return out
}

// validate parses what is text and reports every field that makes no sense, joined under ErrUsage.
func (o *Options) validate() (parsed, error) {
	p, errs := o.parse()
	if len(errs) == 0 {
		return p, nil
	}
	all := fault(ErrUsage, "%s", strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; "))
	for _, err := range errs {
		if all.Hint == "" {
			all.Hint = Hint(err)
		}
	}
	return p, all
}

// parse reads what is text, and collects what makes no sense.
func (o *Options) parse() (parsed, []error) {
	var p parsed
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	orderBy, err := parseOrderBy(o.OrderBy)
	if err != nil {
		errs = append(errs, err)
	}
	casts, err := parseCasts(o.Casts)
	if err != nil {
		errs = append(errs, err)
	}
	deleteWhen, err := parseDeleteWhen(o.DeleteWhen)
	if err != nil {
		errs = append(errs, err)
	}
	codec, err := parseCodec(o.Compression)
	if err != nil {
		errs = append(errs, err)
	}
	zone, err := parseZone(o.SourceTimezone)
	if err != nil {
		errs = append(errs, err)
	}
	if o.StrayRows != merge.PolicyError && o.StrayRows != merge.PolicyReject {
		bad("stray-rows %q: want error or reject", o.StrayRows)
	}
	if o.Verify != VerifyCounts && o.Verify != VerifyFull {
		bad("verify %q: want counts or full", o.Verify)
	}
	errs = append(errs, o.negative()...)
	if _, err := ParseColumns(o.PartitionBy); err != nil {
		errs = append(errs, err)
	}
	if o.Schema != "" {
		if _, err := ParseSchema(o.Schema); err != nil {
			errs = append(errs, err)
		}
	}
	if !o.Create && (len(o.PartitionBy) > 0 || o.Schema != "") {
		bad("partition-by and schema go with create: a table that exists has them, or declares them in its configuration (hupsert config TABLE --set partition-by=...)")
	}
	if o.StageOnly && o.Partial {
		bad("stage-only and partial: a staged run is published in all its partitions at once")
	}
	if p.window, err = parseWindow(o.UniqueWithin); err != nil {
		errs = append(errs, err)
	}
	if o.UniqueWithin != "" {
		errs = append(errs, o.checkWindow()...)
	}
	for _, spec := range o.Partitions {
		if _, err := ParseSpec(spec); err != nil {
			errs = append(errs, err)
		}
	}
	p.casts = casts
	p.merge = merge.Options{
		Key: o.Key, Mode: o.Mode, OrderBy: orderBy, DeleteWhen: deleteWhen, IgnoreVersion: o.IgnoreVersion,
		Columns: o.Columns, ExceptColumns: o.ExceptColumns, KeepNull: o.KeepNull,
		NullKeys: o.NullKeys, SourceDuplicates: o.SourceDuplicates, OldDuplicates: o.OldDuplicates,
		MissingColumns: o.MissingColumns, NewColumns: o.NewColumns, AllowFloatKeys: o.AllowFloatKeys,
		Casts: casts, SourceTimezone: zone, TruncateTimestamps: o.TruncateTimestamps,
		MaxDeleteRatio: o.MaxDeleteRatio, AllowEmpty: o.AllowEmpty, RequireRows: o.RequireRows,
		Codec: codec, RowGroupRows: o.RowGroupRows, TargetFileBytes: o.TargetFileBytes, Force: o.Route,
	}
	if err := p.merge.Validate(); err != nil {
		errs = append(errs, err)
	}
	return p, errs
}

// negative finds the numbers that must not be.
func (o *Options) negative() (errs []error) {
	rejects := int64(0)
	if o.MaxRejects != nil {
		rejects = *o.MaxRejects
	}
	for _, n := range []struct {
		name  string
		value int64
	}{{"parallel", int64(o.Parallel)}, {"retry", int64(o.Retry)}, {"memory", o.Memory}, {"row-group-size", o.RowGroupRows},
		{"target-file-size", o.TargetFileBytes}, {"max-rejects", rejects}} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("%s %d: must not be negative", n.name, n.value))
		}
	}
	return errs
}

func parseOrderBy(list []string) ([]merge.Version, error) {
	var out []merge.Version
	for _, item := range list {
		name, dir, found := strings.Cut(item, ":")
		v := merge.Version{Column: name}
		switch {
		case name == "":
			return nil, fmt.Errorf("order-by %q: no column", item)
		case !found || dir == "asc":
		case dir == "desc":
			v.Desc = true
		default:
			return nil, fmt.Errorf("order-by %q: want COL or COL:desc", item)
		}
		out = append(out, v)
	}
	return out, nil
}

func parseCasts(list []string) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(list))
	for _, item := range list {
		name, typ, found := strings.Cut(item, ":")
		if !found || name == "" {
			return nil, fmt.Errorf("cast %q: want COL:TYPE", item)
		}
		if _, err := ParseType(typ); err != nil {
			return nil, fmt.Errorf("cast %q: %w", item, err)
		}
		out[name] = typ
	}
	return out, nil
}

func parseDeleteWhen(text string) (*merge.DeleteWhen, error) {
	if text == "" {
		return nil, nil
	}
	name, value, found := strings.Cut(text, "=")
	if name == "" {
		return nil, fmt.Errorf("delete-when %q: want COL or COL=VALUE", text)
	}
	d := &merge.DeleteWhen{Column: name}
	if found {
		d.Value = &value
	}
	return d, nil
}

func parseCodec(name string) (*format.CompressionCodec, error) {
	codecs := map[string]format.CompressionCodec{
		"snappy": format.Snappy, "zstd": format.Zstd, "gzip": format.Gzip, "none": format.Uncompressed, "uncompressed": format.Uncompressed,
	}
	if name == "" {
		return nil, nil
	}
	codec, ok := codecs[strings.ToLower(name)]
	if !ok {
		return nil, fmt.Errorf("compression %q: want snappy, zstd, gzip or none", name)
	}
	return &codec, nil
}

func parseZone(name string) (*time.Location, error) {
	if name == "" {
		return nil, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("source-timezone: %w", err)
	}
	return zone, nil
}

// Column is a column of the table with its type.
type Column struct {
	Name string
	Type arrow.DataType
}
