// Package swap publishes staged partitions atomically and keeps their history. In the usual case:
// [Open], [Store.Begin], [Run.Lease], [Store.Recover], [Store.Inputs], [Run.Stage] and fill,
// [Run.Publish], [Run.Close].
//
// The guarantee: a crash at any operation ends, after recover, in exactly the old or exactly the new
// partitions of a run, all of them alike, with nothing left in staging. It rests on FS.Rename to a
// name that must not exist, on the order of fsyncs, and on names of ours that no run had before.
// Leases only save work that would lose.
//
// The state of a table lies beside it, so that the table's folder holds data and nothing else:
//
//	staging/<run>/            what a run builds
//	claims/<partition>/vN/    version N of a partition is taken, and by whom
//	runs/<run>.json           the run is committed and being finished
//	runs/done/<run>.json      the run is finished
//	history/<partition>/<run> the folder that a run made and that is live no more
//	locks/<partition>.lock    a run works on the partition
//	locks/runs/<run>.lock     held while the run lives
//	trash/                    being removed
//
// What a crash leaves, and what recover makes of it:
//
//	last durable step             state found                          recover
//	nothing staged or half        staging without lock                 removes it: old
//	sealed                        staging without lock                 removes it: old
//	some or all claims            claims without record                removes both: old
//	the run record                record in runs                       switches what is not: new
//	some partitions switched      record in runs, ids tell which       goes on: new
//	first of two renames          record, path absent, old in history  second rename: new
//	all switched                  record in runs                       files it as done: new
//	record filed                  staging without lock                 removes it: new
//
// Before the record every error undoes the run; after it nothing does. Whether the record exists is
// one fact on one file system, made by one exclusive rename: that is why many partitions change as
// one.
package swap
