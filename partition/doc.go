// Package partition is hupsert's library: a Hive-partitioned Parquet table and what can be done with
// it. In the usual case call [Open], then [Table.Upsert] with a [Source] and [Options]; the [Report]
// says what became of every row.
//
//	table, err := partition.Open(ctx, "/warehouse/orders", partition.Config{})
//	report, err := table.Upsert(ctx, partition.Source{From: []string{"in/2026-11-20/*.parquet"}},
//		partition.Options{Key: []string{"order_id"}})
//
// The guarantee: a run publishes all partitions it touches or none (with [Options.Partial] each
// partition wholly or not at all), readers of a path see its old or its new files and never a mix,
// and whatever stops a run leaves every partition byte for byte as it was. A partition in which
// nothing changes is not touched. With [Options.StageOnly] a run stops when all is verified, for
// [Table.Publish] or [Table.Discard] to end it. Earlier versions can be listed, put back and removed with
// [Table.History], [Table.Rollback] and [Table.Vacuum]; what a killed run left is finished or undone
// by the next run that touches it, or by [Table.Recover].
//
// [Table.Plan] and [Table.Diff] say beforehand what Upsert would do, by files and by rows; [Compare] says which rows of two
// tables, or of two versions of one ([OpenAt]), differ.
//
// Partitions are directories named as Hive names them, "dt=2026-11-20/region=kr", with Hive's
// escaping and __HIVE_DEFAULT_PARTITION__ for NULL. A table without such directories is one
// partition, named "".
//
// Errors are matched with errors.Is ([ErrLocked], [ErrConflict], [ErrNullKey], ...) and carry
// partition, step, file, column and a hint as an [*Error]; [KindOf] classifies them.
//
// A [Table] is safe for concurrent use: runs on different partitions go on side by side, runs on the
// same one wait for each other or end with ErrLocked. Contexts are honoured everywhere; no goroutine
// outlives a call. The package prints nothing.
//
// It does not merge a source whose keys are larger than memory, read ORC or text tables, or keep keys
// unique across partitions.
package partition
