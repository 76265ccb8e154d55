// Package job reads and runs jobs that are written down: a YAML file with steps, each of which does to a table what a
// command line would do, with the flags as its fields.
//
// The usual case is [Load], then [Job.Run]. Load is strict: a field that is not known, stands twice or has a value of another
// type, and a variable without a value, are errors with their lines, and all of them are told at once. Run carries the steps out in
// their order; the first that fails ends the job. A step may have expectations, which are checked on its staged rows before anybody
// sees them: one that does not hold leaves the table as it was and the rows staged, for [partition.Table.Publish] or
// [partition.Table.Discard]. Hooks are called when it is decided what became of a step; nothing that a hook does changes that.
//
// What a file may hold is written down once, in tables of fields from which the reading, the flags of the command, the
// JSON Schema ([Schema]) and the file that [Init] writes are made.
package job
