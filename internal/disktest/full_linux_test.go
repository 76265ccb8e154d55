package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/storage/local"
	"github.com/hupsert/hupsert/storage/swap"
)

// room is a file system that can be filled up to any rest.
type room struct {
	dir string // where it is mounted
	// left is how many blocks, or inodes, are free; take uses up some of them, into a folder.
	left func() (int64, error)
	take func(folder string, n int64) error
	sync func() error
}

// rooms are the file systems that get full: in memory by blocks and by inodes, and those of the images.
var rooms = []struct {
	name string
	open func(t *testing.T) room
}{
	{"tmpfs without blocks", func(t *testing.T) room { return inMemory(t, "size=2m", blocks) }},
	{"tmpfs without inodes", func(t *testing.T) room { return inMemory(t, "size=8m,nr_inodes=400", inodes) }},
	{"ext4", func(t *testing.T) room {
		k := kinds[0]
		k.mkfs = append(slices.Clone(k.mkfs), "-m", "0") // nothing is reserved for root
		return inImage(t, k)
	}},
	{"xfs", func(t *testing.T) room { return inImage(t, kinds[2]) }},
}

func inImage(t *testing.T, k kind) room {
	t.Helper()
	d := newDisk(t, k)
	r := blocks(d.dir)
	r.sync = d.sync
	return r
}

func inMemory(t *testing.T, options string, of func(dir string) room) room {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("SKIPPED: tmpfs can't be mounted here: %v", err)
	}
	t.Cleanup(func() { release(t, dir) })
	r := of(dir)
	r.sync = func() error { return nil }
	return r
}

// blocks is a room whose blocks are counted.
func blocks(dir string) room {
	var fs unix.Statfs_t
	return room{dir: dir,
		left: func() (int64, error) {
			err := unix.Statfs(dir, &fs)
			return int64(fs.Bavail), err
		},
		take: func(folder string, n int64) error {
			f, err := os.CreateTemp(folder, "filler-*")
			if err != nil {
				return err
			}
			if n > 0 {
				err = unix.Fallocate(int(f.Fd()), 0, 0, n*fs.Bsize)
			}
			return errors.Join(err, f.Close())
		}}
}

// inodes is a room whose inodes are counted.
func inodes(dir string) room {
	return room{dir: dir,
		left: func() (int64, error) {
			var fs unix.Statfs_t
			err := unix.Statfs(dir, &fs)
			return int64(fs.Ffree), err
		},
		take: func(folder string, n int64) error {
			for range n {
				f, err := os.CreateTemp(folder, "filler-*")
				if err != nil {
					return err
				}
				if err := f.Close(); err != nil {
					return err
				}
			}
			return nil
		}}
}

// fill leaves so much free and no more; empty gives it back.
func (r room) fill(rest int64) error {
	folder := filepath.Join(r.dir, "filler")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	// The filler may need more than it was asked for, so what is over goes last, in small pieces.
	for range 100 {
		left, err := r.left()
		if err != nil || left <= rest {
			return err
		}
		n := left - rest
		err = r.take(folder, n)
		for errors.Is(err, syscall.ENOSPC) && n > 1 {
			n /= 2
			err = r.take(folder, n)
		}
		if errors.Is(err, syscall.ENOSPC) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r room) empty() error { return os.RemoveAll(filepath.Join(r.dir, "filler")) }

// TestFullDisk fills real disks to every rest with which a run can't be done, or to some of them where one costs much:
// the run fails as one of the storage, the table is as it was, vacuum makes room, and with that the next run succeeds.
func TestFullDisk(t *testing.T) {
	w := newWorld(t)
	for _, r := range rooms {
		t.Run(r.name, func(t *testing.T) {
			skip := 1
			if !strings.HasPrefix(r.name, "tmpfs") && !*every {
				skip = 4
			}
			fillUp(t, w, r.open(t), skip)
		})
	}
}

// fillUp tries rests from none up to where runs succeed, with as many as skip from one to the next.
func fillUp(t *testing.T, w *world, room room, skip int) {
	dice, seed := roll()
	f := filled{t: t, w: w, room: room}
	points, stopped, unfinished, through := 0, 0, 0, 0
	for rest := int64(0); through < 3 && points < 2000 && !t.Failed(); rest += 1 + int64(dice.IntN(skip)) {
		points++
		switch err := f.try(rest, points%2 == 0); {
		case err == nil:
			through++
		case errors.Is(err, swap.ErrUnfinished):
			unfinished++
		default:
			stopped++
		}
	}
	if stopped+unfinished < 5 {
		t.Errorf("the disk was full at %d points only", stopped+unfinished)
	}
	t.Logf("full disk: seed %d, %s, %d points, %d runs stopped, %d to be finished by recover",
		seed, path.Base(t.Name()), points, stopped, unfinished)
}

// TestRecoverOnFullDisk: what is committed can be finished without any room.
func TestRecoverOnFullDisk(t *testing.T) {
	w := newWorld(t)
	for _, r := range rooms {
		t.Run(r.name, func(t *testing.T) {
			room := r.open(t)
			for _, sc := range w.scenarios() {
				if sc.dead == nil {
					continue
				}
				for _, way := range ways {
					dir := filepath.Join(room.dir, way)
					must(t, w.prepare(room.sync, sc, way, dir))
					must(t, room.fill(0))
					if err := do(dir, local.FS{}, way, recoverTable); err != nil {
						t.Errorf("%s: %v", way, err)
					}
					must(t, room.empty())
					if got, err := afterRecover(dir); err != nil || got.String() != sc.new.String() {
						t.Errorf("%s: %v\n%s", way, err, differing(sc.new, got))
					}
				}
			}
		})
	}
}

// filled is a disk at whose every rest a run is tried.
type filled struct {
	t    *testing.T
	w    *world
	room room
}

// try lets a run meet a disk with so much left, and answers how it ended.
func (f *filled) try(rest int64, vacuums bool) (ran error) {
	t, w, dir := f.t, f.w, filepath.Join(f.room.dir, "warehouse")
	old := w.base.with(w.changes["first"])
	new := old.with(w.changes["second"])
	must(t, w.lay(dir))
	must(t, do(dir, local.FS{}, "", w.upsert("first")))
	must(t, f.room.sync())
	before, err := fingerprints(dir)
	must(t, err)
	must(t, f.room.fill(rest))

	ran = do(dir, local.FS{}, "", w.upsert("second"))
	now, err := fingerprints(dir)
	must(t, err)
	wrong := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%d left: %s (the run: %v)", rest, fmt.Sprintf(format, args...), ran)
	}
	if ran != nil {
		if !errors.Is(ran, syscall.ENOSPC) || partition.KindOf(ran) != partition.KindStorage || partition.Hint(ran) == "" {
			wrong("want a storage error with a hint: kind %s, hint %q", partition.KindOf(ran), partition.Hint(ran))
		}
		if !errors.Is(ran, swap.ErrUnfinished) && !maps.Equal(before, now) {
			wrong("the table was changed")
		}
	}
	want := new
	if ran != nil && !errors.Is(ran, swap.ErrUnfinished) {
		want = old
	}
	if vacuums {
		// As the error's hint says.
		if err := do(dir, local.FS{}, "", vacuum); err != nil {
			wrong("vacuum: %v", err)
		}
	}
	must(t, f.room.empty())
	if err := do(dir, local.FS{}, "", recoverTable); err != nil {
		wrong("recover: %v", err)
	}
	if got, err := readRows(dir); err != nil || got.String() != want.String() {
		wrong("after recover: %v\n%s", err, differing(want, got))
	}
	if left, err := leftovers(dir); err != nil || len(left) > 0 {
		wrong("left behind: %v, %v", left, err)
	}
	if err := do(dir, local.FS{}, "", w.upsert("second")); err != nil {
		wrong("the next run: %v", err)
	}
	if got, err := readRows(dir); err != nil || got.String() != new.String() {
		wrong("after the next run: %v\n%s", err, differing(new, got))
	}
	must(t, os.RemoveAll(dir))
	return ran
}

// TestFullDiskCommand: what the command says of a full disk, and that what it says helps.
func TestFullDiskCommand(t *testing.T) {
	hupsert := binary(t)
	room := inMemory(t, "size=2m", blocks)
	w := newWorld(t)
	dir := filepath.Join(room.dir, "warehouse")
	must(t, w.lay(dir))
	run := func(args ...string) (int, string) {
		var log bytes.Buffer
		cmd := exec.CommandContext(t.Context(), hupsert, args...)
		cmd.Stderr = &log
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), log.String()
	}
	table := filepath.Join(dir, "orders")
	upsert := func(source string) (int, string) {
		return run("upsert", table, "--from", w.sources[source], "--key", "id", "--delete-when", "gone", "--no-progress")
	}
	if code, log := upsert("first"); code != 0 {
		t.Fatalf("exit %d\n%s", code, log)
	}
	must(t, room.fill(3))
	if code, log := upsert("second"); code != 6 || !strings.Contains(log, "no space left on device") || !strings.Contains(log, "hint: free some space") {
		t.Errorf("exit %d, want 6\n%s", code, log)
	}
	if code, log := run("vacuum", table, "--keep", "1ns"); code != 0 {
		t.Errorf("vacuum: exit %d\n%s", code, log)
	}
	must(t, room.empty())
	if code, log := upsert("second"); code != 0 {
		t.Errorf("exit %d\n%s", code, log)
	}
	want := w.base.with(w.changes["first"]).with(w.changes["second"])
	if got, err := readRows(dir); err != nil || got.String() != want.String() {
		t.Errorf("%v\n%s", err, differing(want, got))
	}
}

// binary returns the command: the one that HUPSERT_BINARY names, else one built for this test.
func binary(t *testing.T) string {
	t.Helper()
	needRoot(t)
	if name := os.Getenv("HUPSERT_BINARY"); name != "" {
		return name
	}
	name := filepath.Join(t.TempDir(), "hupsert")
	if text, err := exec.CommandContext(t.Context(), "go", "build", "-o", name, "../../cmd/hupsert").CombinedOutput(); err != nil {
		t.Fatalf("build the command: %v\n%s", err, text)
	}
	return name
}
