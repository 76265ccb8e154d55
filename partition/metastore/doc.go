// Package metastore is the Hive Metastore as the place where a table's partitions are registered: [Dial] connects
// to one of 2.3 to 4.0, [Client.Table] gives what a merge needs to know of a table, and [Client.Registry] is what
// storage/swap publishes through.
//
// What is registered is read whole, changed and written back whole, so that what others put there stays. Many partitions
// change in one call, all or none. The metastore has no compare-and-swap: before a change the partitions are looked at, and
// where one is not where it was said to be nothing is changed ([swap.ErrConflict]); what happens between the look and the
// change is for the callers' claims to settle.
//
// Connections are plain or Kerberos (SASL with GSSAPI, authentication only), by the Thrift code in internal/hmsapi, which is
// generated from the part of Hive's IDL that is used here: the whole of it compiles seven times as long and loses the
// difference between a null and an empty text, which a table that is read and written back has to keep.
package metastore
