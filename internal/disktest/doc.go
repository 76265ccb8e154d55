// Package disktest holds tests on real file systems: images of ext4 and XFS whose power is cut at every operation of a
// run, disks that are really full or turn read-only, failing fsyncs, quotas. It exports nothing.
//
// The tests mount, so they need Linux and root; the test process lives in a mount namespace of its own, so that what it
// mounted is gone when it ends, however it ends. Where the kernel does not let them they are skipped, also where
// HUPSERT_REQUIRE is "all": no installation would help there. A tool that is missing (mkfs.xfs) is then an error.
//
//	go test ./internal/disktest                                   points at random, for some seconds
//	go test ./internal/disktest -run TestPowerCuts -v -every      all of them
//	go test ./internal/disktest -run TestPowerCuts -point 'xfs/upsert/exchange/no flush/57'
package disktest
