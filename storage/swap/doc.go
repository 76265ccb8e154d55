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
//	staging/<run>/staged.json the run stopped before it published: what it staged stays
//	claims/<partition>/vN/    version N of a partition is taken, and by whom
//	runs/<run>.json           the run is committed and being finished
//	runs/undo/<run>.json      the run had committed, met a conflict, and is being taken back
//	runs/done/<run>.json      the run is finished
//	history/<partition>/<run> the folder that a run made and that is live no more
//	versions/<partition>/vN   the folder of a version that a registry was pointed at; it stays there
//	registry.json             such a registry: paths do not tell any more which folders are live
//	locks/<partition>.lock    a run works on the partition, whose path has commas for its slashes
//	locks/runs/<run>.lock     held while the run lives, or while somebody ends it in its place; the file
//	                          beside it is written anew meanwhile, for machines that don't see the lock
//	failed/<run>.json         what became of a run that failed; for people, nothing rests on it
//	notes/                    what callers note down; nothing rests on it
//	trash/                    being removed, each below the path it had
//
// What a crash leaves, and what recover makes of it:
//
//	last durable step             state found                          recover
//	the run's lock                its files, held by nobody            removes them: old
//	nothing staged or half        staging without lock                 removes it: old
//	sealed                        staging without lock                 removes it: old
//	some or all claims            claims without record                removes both: old
//	the run record                record in runs                       switches what is not: new
//	some partitions switched      record in runs, ids tell which       goes on: new
//	first of two renames          record, path absent, old in history  second rename: new
//	exchanged, not looked at      record, old folder in staging        looks: new, or conflict
//	all switched                  record in runs                       files it as done: new
//	record filed                  staging without lock                 removes it: new
//	conflict, record turned       record in runs/undo                  switches back what is not: old
//	some partitions switched back record in runs/undo, ids tell which  goes on: old
//	new folder in the history     record in runs/undo                  moves it to staging: old
//	all switched back             record in runs/undo, claims or none  drops claims, then record: old
//	some left to somebody else    record in runs/undo and in runs/done goes on: old, but for those
//	record dropped                staging without lock                 removes it: old
//	staged.json                   staging with it, no record           leaves it: old, staged
//	claims of publishing that     the same, and claims                 removes claims: old, staged
//	the run record of that        record in runs, staged.json          switches what is not: new
//	that filed                    record done, staged.json             removes staging: new
//	that turned, record dropped   staging with staged.json             leaves it: old, staged
//	staged.json removed           staging without lock                 removes it: old, discarded
//	a claim or version in trash   folder in trash                      removes it: it is gone whole
//
// What a run does first ([Store.Settle]) is recover but for one thing: claims of other partitions are looked through only where something
// else tells of a run that died.
//
// Where readers ask a [Registry] for folders, a metastore, nothing of theirs is moved ([Location]). After the
// record the staged folders become versions, the registry is pointed at all of them at once, and the record
// is filed. What is on the way then:
//
//	last durable step             state found                          recover
//	some folders are versions     record in runs, registry at old      moves the others, points: new
//	the registry points at them   record in runs                       looks at the old folders: new, or conflict
//	conflict, record turned       record in runs/undo                  points back all at once: old
//	pointed back                  record in runs/undo                  moves folders to staging: old
//	a version older than the last registry at it, no record in runs    points at the last one: new
//
// A registry has no compare-and-swap. So it is looked at right before it is told, and others who changed a
// partition there, or in its old folder until right after, are a conflict. It is only pointed forward: before
// and after it is told, a run looks whether it was ended meanwhile or a later version is committed, and puts
// right what it told too late; if it dies in that moment, whoever comes next does. A folder that isn't ours is
// never pointed away from: it is what the next version is made from. So is one of ours that somebody wrote into. Where it is
// one from before versions of ours, nothing is published over it unless the caller wants that: [SetBackError].
//
// Before the record every error undoes the run. After it only one thing does: a writer that knows
// nothing of us has changed a partition between the last look at it and its switch. Then the record is
// turned by one rename, and from there on whoever goes on with the run goes backwards. What that writer
// did stays as it was found. A partition that somebody changes after it was switched, while the run is
// taken back, stays too: it keeps the run's version, and what was there before is in its history. Any
// other error leaves the run committed, with as many partitions live as could be, for recover to
// finish.
//
// Whether a run is committed, turned or done is where one file lies, moved by exclusive renames: that
// is why many partitions change as one. Who finds it somewhere makes that durable before he acts on it:
// whoever moved it may have been killed in between. The same goes for folders that are there already,
// and for partitions that are switched already.
//
// A run may stop when all is sealed: [Run.Park] makes staged.json, whose name says that the staging
// stays, and the run's process and locks end. [Store.PublishStaged] takes the run's lock again, holds the
// staged files against their manifests and the partitions against the inputs of the merge, and publishes as
// any run does; until it commits, and where it is taken back, the run stays staged. [Store.Discard] removes
// staged.json first. Without a run record staged.json counts, with one the record does.
//
// One process at a time ends a run: the run itself, which holds its lock from before there is anything
// of it to the end, or who could take that lock when it was gone. Where locks do not reach beyond a
// machine, another one takes a run for dead whose file beside the lock stood still for some time by the
// other's clock. The times of day that runs write down are for people, and for vacuum.
package swap
