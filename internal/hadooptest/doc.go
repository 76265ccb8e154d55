// Package hadooptest runs the built command on tables in a real HDFS and a real Hive Metastore while what they consist of
// is stopped, killed, full or forbidden, and while the command itself is killed: readers see old rows or new ones, a run ends
// in success or in an error that says what happened, and the next one does its work. It holds tests only.
//
// Tables come in two kinds: by their path, where partitions are switched by renames, and in the metastore, where
// they are switched by their location. The services are those of internal/servicetest. The crashes of the library between any two
// of its operations on the same services are in package partition.
package hadooptest
