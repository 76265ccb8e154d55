// Command hupsert merges new, corrected and deleted rows into Hive-partitioned Parquet tables and
// switches each partition atomically. It parses, calls the partition library, draws progress and
// prints; everything else can be had from Go, by github.com/hupsert/hupsert/partition.
//
// The rules of its voice: results go to standard output, all else to standard error. An error is one
// line that begins with "error:", and where there is something to do about it, a line that begins
// with "hint:". Nothing is said twice, and nothing at all under --quiet but errors.
package main

import "os"

func main() {
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
