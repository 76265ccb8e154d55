// Package writertest tests tables of a real Hive Metastore, on a real HDFS, under writers that die: processes that upsert
// one table at once and kill themselves, or stand still until they are taken for dead, at any operation on the storage
// and before and after any call of the metastore. Readers ask the metastore all the while. What must hold: no row that was
// reported as done is missing, each is there once, readers see whole versions of all partitions of a run, and never an
// older one than before; and at the end the metastore stands at the highest version and nothing is left over.
//
// Protocols with a step left out, which the harness must notice, are its own test.
package writertest
