// Package damagetest gives hupsert Parquet files that are damaged: those of a corpus that came so, and good ones cut off or
// with a bit flipped, each as an old partition, as the source of a new table and as the source of a replace. It exports nothing.
//
// A run is done in a child process, by the library, with nothing that catches a panic, a limit on its address space and 20
// seconds; the parent notices a child that dies or stands still, names file and damage, and goes on with another. What
// a run publishes is held against what pyarrow reads of the very same damaged file (testdata/engines/damage.py).
package damagetest
