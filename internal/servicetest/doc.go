// Package servicetest starts a real HDFS and a real Hive Metastore for tests.
//
// A test that needs no services of its own asks for those that all tests of the binary share, and works in a folder
// and a database of its own:
//
//	func TestMain(m *testing.M) { servicetest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		s := servicetest.Shared(t)
//		folder, database := s.HDFS+s.Folder(t), s.Database(t)
//
// One that stops nodes, kills, or needs Kerberos or high availability calls [Start], and has services until it ends.
//
// HDFS and Metastore 3.1 are threads of one JVM (testdata/services), which takes commands: [Services.Do]. Other versions
// of the metastore are processes of their own: [StartMetastore]. `make engines` installs what it takes and the Makefile
// names its folder by HUPSERT_SERVICES; where that is empty tests are skipped, with HUPSERT_REQUIRE=all they fail.
//
// All services listen on the loopback interface, on ports they find free, and none outlives the tests: they end with
// the pipe they take commands from, and on Linux with the process, also where it is killed.
package servicetest
