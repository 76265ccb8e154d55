package backfill

import (
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
}
