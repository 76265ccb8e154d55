package backfill

import (
	"context"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/partition"
)

// Options says what is merged from where. Each field is a flag of the command, in the same grammar.
type Options struct {
	// Ranges are the values of each partition column, as [ParseRange] reads them; the partitions are all combinations.
	Ranges []string
	// Source is where rows are: its From are templates ([ParseTemplate]).
	Source partition.Source
	// Upsert is how they are merged. Its Partitions, as specs, are the only ones of the range that count; empty: all. Its Rejects
	// is a template. Partial is meant anyway, and StageOnly is not possible.
	Upsert partition.Options
	// RequireFiles makes a partition without files an error; else it is left out, and said.
	RequireFiles bool
	// Redo merges also what is done from the same files with the same options.
	Redo bool
	// FailFast begins nothing more when a partition has failed.
	FailFast bool
	// Together is how many partitions are published in one commit, at most; 0: 64. Fewer where they are large.
	Together int
	// DryRun is for Prepare alone: nothing is written, not even what ends interrupted runs.
	DryRun bool
	// Check is asked of each partition that was merged before it is published ([partition.Batch].Check). nil: nobody is.
	Check func(ctx context.Context, merged *partition.StagedView, report partition.PartitionReport) error
	// Keep is how many partitions that Check refuses stay staged ([partition.Batch].Keep).
	Keep int
}

// Faults are what is wrong with the options as far as it can be told without the table: in the ranges, in the sources, and in the
// template of rejects.
func (o *Options) Faults() (ranges, from []error, rejects error) {
	var columns []string
	for _, text := range o.Ranges {
		r, err := ParseRange(text)
		switch {
		case err != nil:
			ranges = append(ranges, err)
		case slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, r.Column) }):
			ranges = append(ranges, twoRanges(r.Column))
		default:
			columns = append(columns, r.Column)
		}
	}
	if len(ranges) > 0 || len(columns) == 0 {
		return ranges, nil, nil // which columns there are is not known
	}
	for _, text := range o.Source.From {
		if text == "-" {
			from = append(from, standardInput())
		} else if _, err := ParseTemplate(text, columns); err != nil {
			from = append(from, err)
		}
	}
	if o.Upsert.Rejects != "" {
		_, rejects = ParseTemplate(o.Upsert.Rejects, columns)
	}
	return nil, from, rejects
}

func twoRanges(column string) error {
	return refuse(partition.ErrUsage, "join the values with commas", "two ranges of %s", column)
}

func standardInput() error {
	return refuse(partition.ErrUsage, "name files: --from 'in/{dt}/*.parquet'", "standard input can't be divided among partitions")
}
