// Package backfill merges a range of a table's partitions, each from files of its own that a template names:
//
//	plan, err := backfill.Prepare(ctx, table, backfill.Options{
//		Source: partition.Source{From: []string{"in/{dt}/*.parquet"}},
//		Ranges: []string{"dt=2026-01-01..2026-12-31"}, Upsert: partition.Options{Key: []string{"order_id"}}})
//	report, err := plan.Run(ctx, nil)
//
// [Prepare] says which partitions there are to merge, from which files, which have none and which are done; [Plan.Run] does it.
//
// The guarantee is a partition's: each is merged and published wholly or not at all, and one that fails stops none of the
// others. The range is not one commit. What is done is known by marks in the versions ([partition.Part].Mark): who prepares the same
// range again, after a failure or a kill, is given what is left. A partition that was rolled back, replaced or changed by
// somebody else since is merged again, and so is one whose files or options are not those of then.
package backfill
