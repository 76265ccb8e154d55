//go:build linux && !race

package damagetest

import "syscall"

// addressSpace is what a child may map in all, Go's own reserve of about 1 GiB included: it dies beyond.
const addressSpace = 4 << 30

// measured says that what a run allocates is held against its limit.
const measured = true

func limitMemory() error {
	return syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: addressSpace, Max: addressSpace})
}
