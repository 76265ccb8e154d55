// Package merge is the engine for one partition: a full outer merge of its old files and the source
// rows routed to it, on the primary key, whose cost follows the change.
//
// In the usual case call [Prepare], look at what it found ([Prepared.Counts], [Prepared.Files]), and
// call [Prepared.Write]. The way of the data, a file each:
//
//	bind -> encode -> hold -> probe -> match -> compare -> plan -> write
//
// bind matches source columns to the table's by name and casts them exactly; encode makes bytes of keys
// and versions, and hold resolves duplicates inside the source; probe decodes only key columns of the old
// files, where statistics and page indexes do not already rule a page out; match decides by mode and
// version; compare finds which columns of which row groups really change; plan gives every file and row group its route; write
// follows the routes, through a [Sink].
//
// What happens to a row (semantics of a merge, by mode):
//
//	mode      in old and source      only in source     only in old
//	upsert    update                 insert             keep
//	insert    keep old               insert             keep
//	update    update                 ignore, counted    keep
//	delete    delete                 ignore, counted    keep
//	mirror    update                 insert             delete
//	replace   the source becomes the partition
//	append    the source's rows are added
//
// The same inputs give the same output rows whatever the parallelism and the routes. Rows keep their
// positions; inserted rows come last, in key order; where every old row is replaced by a sorted source,
// its order is the partition's. The package knows no tables, directories or
// schemes: it reads old files through [Old], writes through [Sink], and returns what to keep by name.
package merge
