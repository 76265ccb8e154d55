package main

import (
	"fmt"
	"os"
	"runtime/pprof"
)

// profileVariable names the file that a run's CPU profile goes to, for who makes hupsert faster (CONTRIBUTING.md); it is
// of no use to others, so no help text has it.
const profileVariable = "HUPSERT_CPUPROFILE"

// profiled runs a command and writes its CPU profile, where a file is named.
func profiled(file string, run func() error) (err error) {
	if file == "" {
		return run()
	}
	f, err := os.Create(file)
	if err != nil {
		return usageError{fmt.Errorf("%s: %w", profileVariable, err), "name a file that can be written, or unset it"}
	}
	defer func() {
		pprof.StopCPUProfile() // writes the profile
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	return run()
}
