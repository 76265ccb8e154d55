package binarytest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// mutantVariable makes the test's own program one that publishes as many do: it removes what is live, and renames
// the new folder to its place. Its value is the folder with the new partitions.
const mutantVariable = "HUPSERT_BINARYTEST_MUTANT"

// mutant is that program.
func mutant() {
	if err := removeAndRename(os.Getenv(mutantVariable), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // it is a main function, of a program that is run by the test
	}
}

// removeAndRename knows two commands: recover, which clears what a run staged, and any other.
func removeAndRename(from, command, root string) error {
	staging := filepath.Join(filepath.Dir(root), "staged")
	if err := os.RemoveAll(staging); err != nil || command == "recover" {
		return err
	}
	parts, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, part := range parts {
		staged, live := filepath.Join(staging, part.Name()), filepath.Join(root, part.Name())
		if err := os.CopyFS(staged, os.DirFS(filepath.Join(from, part.Name()))); err != nil {
			return err
		}
		if err := os.RemoveAll(live); err != nil {
			return err
		}
		if err := os.Rename(staged, live); err != nil {
			return err
		}
	}
	return os.Remove(staging)
}

// noticed is until when a mutant must have been, on the busiest machine: usually it takes seconds.
const noticed = 5 * time.Minute

// TestFaultsNoticeAMutant: the harness of TestFaultsInTheBinary finds out a program that removes and renames.
func TestFaultsNoticeAMutant(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a command hundreds of times")
	}
	self, err := os.Executable()
	must(t, err)
	// What it publishes is made by the command, once.
	op, made := operations()[0], t.TempDir()
	must(t, os.Mkdir(filepath.Join(made, "tmp"), 0o755))
	must(t, op.begin(t.Context(), program{}, made))
	must(t, hupsert(t).succeed(t.Context(), made, op.args...))

	h := harness{strace: strace(t), program: program{path: self, env: []string{mutantVariable + "=" + filepath.Join(made, "t")}}}
	seed, counts := h.tryAll(t, []operation{op}, 204, noticed)
	t.Logf("faults in a mutant: seed %d, %d points met of %d tried, %d bad", seed, counts.met, counts.tried, len(counts.bad))
	if len(counts.bad) == 0 {
		t.Error("the harness does not notice that it removes the table before it renames")
	}
}

// TestReadersNoticeAMutant: the readers of TestKillsUnderReaders find out who publishes new content under old names.
func TestReadersNoticeAMutant(t *testing.T) {
	dir := t.TempDir()
	live, other := filepath.Join(dir, "t", "dt="+bothDays[0]), filepath.Join(dir, "other")
	must(t, writeVersion(live, 0))
	ctx, cancel := context.WithTimeout(t.Context(), noticed)
	defer cancel()
	watch := startReaders(ctx, live)
	published := int64(0)
	for ctx.Err() == nil && watch.seen().mixed == 0 {
		published++
		must(t, writeVersion(other, published))
		must(t, exchange(live, other))
		must(t, os.RemoveAll(other))
	}
	seen := watch.stop()
	t.Logf("readers of a mutant: %d swaps, %d reads, %d mixed", published, seen.reads, seen.mixed)
	if seen.mixed == 0 {
		t.Error("the readers do not notice that names are used again")
	}
}

// writeVersion writes a partition in a version, always under the same names.
func writeVersion(dir string, v int64) error {
	for i := range int64(files) {
		rows := rowsOf(1+i*rowsPerFile, 1+(i+1)*rowsPerFile, v)
		if err := writeFile(filepath.Join(dir, fmt.Sprintf("part-%d.parquet", i)), rows[:rowsPerFile/2], rows[rowsPerFile/2:]); err != nil {
			return err
		}
	}
	return nil
}
