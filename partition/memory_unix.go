//go:build unix

package partition

import (
	"runtime"
	"syscall"
)

// peakMemory is the largest resident set the process had, in bytes; 0 where it is not known.
func peakMemory() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss) //nolint:unconvert // in bytes there, and not of this type everywhere
	}
	return int64(u.Maxrss) << 10 //nolint:unconvert // int32 on 32-bit systems
}
