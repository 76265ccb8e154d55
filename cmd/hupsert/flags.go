package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hupsert/hupsert/partition"
	jobfile "github.com/hupsert/hupsert/partition/job"
	"github.com/hupsert/hupsert/partition/metrics"
	"github.com/hupsert/hupsert/partition/openlineage"
	"github.com/hupsert/hupsert/partition/tracing"
)

// job is what upsert and plan are told by their flags.
type job struct {
	config  partition.Config
	source  partition.Source
	options partition.Options
	metrics metrics.Target // of upsert and backfill, as the next two
	lineage openlineage.Target
	trace   tracing.Target
	dryRun  bool
}

// bind adds the flags that upsert and plan share. Each is a field of the library's options, and of a step in a job file.
func (j *job) bind(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	bindFields(cmd.Flags(), jobfile.MergeFields(&j.config, &j.source, &j.options))
}

// tellingFields are the settings of who is told of the run.
func (j *job) tellingFields() []jobfile.Field {
	return append(jobfile.MetricsFields(&j.metrics), jobfile.TelemetryFields(&j.lineage, &j.trace)...)
}

// bindFields makes flags of settings.
func bindFields(f *pflag.FlagSet, fields []jobfile.Field) {
	for _, field := range fields {
		bindField(f, field)
		if field.Hidden {
			_ = f.MarkHidden(field.Name) // there is such a flag
		}
	}
}

func bindField(f *pflag.FlagSet, field jobfile.Field) {
	name, usage := field.Name, field.Usage
	switch to := field.To.(type) {
	case *string:
		f.StringVar(to, name, field.Default, usage)
	case *[]string:
		if field.Kind == jobfile.Columns {
			columns(f, to, name, usage)
		} else {
			f.StringArrayVar(to, name, nil, usage)
		}
	case *bool:
		if field.Kind == jobfile.Negated {
			f.Var(not{to}, name, usage)
			f.Lookup(name).NoOptDefVal = "true"
		} else {
			f.BoolVar(to, name, false, usage)
		}
	case *int:
		f.IntVar(to, name, 0, usage)
	case *int64:
		if field.Kind == jobfile.Size {
			f.Var((*byteSize)(to), name, usage)
		} else {
			f.Int64Var(to, name, 0, usage)
		}
	case **int64:
		f.Var(optionalCount{to}, name, usage)
	case **float64:
		f.Var(ratio{to}, name, usage)
	case *time.Duration:
		f.DurationVar(to, name, 0, usage)
	default:
		panic("a setting of no known kind: " + name)
	}
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
