package disktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kind is a file system as it is made and mounted.
type kind struct {
	name    string
	fstype  string
	options string
	size    int64
	mkfs    []string
}

// kinds are the file systems whose power can be cut: btrfs knows no such call.
var kinds = []kind{
	{"ext4 ordered", "ext4", "data=ordered", 48 << 20, mkfsExt4},
	{"ext4 writeback", "ext4", "data=writeback", 48 << 20, mkfsExt4},
	{"xfs", "xfs", "", 304 << 20, []string{"mkfs.xfs", "-q", "-f", "-K"}},
}

var mkfsExt4 = []string{"mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", "-J", "size=4"}

// disk is a file system in an image file that can lose its power.
type disk struct {
	t      testing.TB
	kind   kind
	image  string
	dir    string   // where it is mounted
	loop   *os.File // the loop device; who closes it last frees it
	source string   // its name
	on     bool
}

// newDisk makes a file system and mounts it. Where the kernel does not allow that the test is skipped.
func newDisk(t testing.TB, k kind) *disk {
	t.Helper()
	needRoot(t)
	needTool(t, k.mkfs[0])
	dir := roomy(t, 2*k.size)
	d := &disk{t: t, kind: k, image: filepath.Join(dir, "image"), dir: filepath.Join(dir, "mnt")}
	must(t, os.Mkdir(d.dir, 0o755))
	must(t, os.WriteFile(d.image, nil, 0o600))
	must(t, os.Truncate(d.image, k.size))
	args := append(append([]string(nil), k.mkfs[1:]...), d.image)
	if text, err := exec.CommandContext(t.Context(), k.mkfs[0], args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", k.mkfs[0], err, text)
	}
	t.Cleanup(d.close)
	if err := d.attach(); err != nil {
		t.Skipf("SKIPPED: no loop devices here, so no power is cut: %v", err)
	}
	if err := d.mount(); err != nil {
		t.Skipf("SKIPPED: %s can't be mounted here, so its power is not cut: %v", k.name, err)
	}
	return d
}

// needRoot skips a test that mounts where nobody may.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root may mount")
	}
	if os.Getenv(inside) == "" {
		t.Skip("SKIPPED: the kernel gives no mount namespace")
	}
}

func needTool(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("HUPSERT_REQUIRE") == "all" {
			t.Fatalf("%s required: %v (make engines installs it)", name, err)
		}
		t.Skipf("SKIPPED: without %s: %v (make engines installs it)", name, err)
	}
}

// roomy is a new folder in memory, where an fsync costs little, else on the disk.
func roomy(t testing.TB, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if os.Getenv(inside) == "" || unix.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)) != nil {
		return dir
	}
	t.Cleanup(func() { release(t, dir) })
	return dir
}

// release unmounts a folder. What is still open there is a fault.
func release(t testing.TB, dir string) {
	t.Helper()
	if err := unix.Unmount(dir, 0); err != nil {
		t.Errorf("unmount: %v; open are: %s", err, strings.Join(openBelow(dir), ", "))
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	}
}

// attach gives the image a loop device, another one than it had.
func (d *disk) attach() error {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer control.Close()
	image, err := os.OpenFile(d.image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer image.Close()
	for try := 0; ; try++ {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return os.NewSyscallError("loop device", err)
		}
		name := fmt.Sprintf("/dev/loop%d", n)
		loop, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		c := unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &c)
		if err == nil {
			d.detach()
			d.loop, d.source = loop, name
			return nil
		}
		_ = loop.Close()
		if !errors.Is(err, unix.EBUSY) || try == 20 { // busy: somebody else was faster
			return os.NewSyscallError("loop device", err)
		}
	}
}

func (d *disk) detach() {
	if d.loop != nil {
		_ = d.loop.Close()
		d.loop = nil
	}
}

func (d *disk) mount() error {
	err := unix.Mount(d.source, d.dir, d.kind.fstype, unix.MS_NOATIME, d.kind.options)
	d.on = err == nil
	return os.NewSyscallError("mount "+d.source, err)
}

// unmount needs every file of it to be closed: what a run left open is a fault.
func (d *disk) unmount() error {
	for try := 0; ; try++ {
		err := unix.Unmount(d.dir, 0)
		if err == nil || !errors.Is(err, unix.EBUSY) || try == 50 {
			d.on = err != nil
			if err != nil {
				return fmt.Errorf("unmount: %w; open are: %s", err, strings.Join(openBelow(d.dir), ", "))
			}
			return nil
		}
		<-time.After(10 * time.Millisecond) // the kernel may be at it
	}
}

// openBelow are the names of the files below a folder that this process has open.
func openBelow(dir string) (names []string) {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, e := range list {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(name, dir) {
			names = append(names, name)
		}
	}
	return names
}

// flush is what still reaches the disk when the power goes.
type flush uint32

// The flushes, as the ioctl numbers them.
const (
	logFlush flush = 1 // the journal of the metadata, without the data
	noFlush  flush = 2 // nothing
)

func (f flush) String() string {
	if f == logFlush {
		return "log flush"
	}
	return "no flush"
}

// shutdown is EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN.
const shutdown = 0x8004587d

// cut takes the power away: whatever comes after it fails.
func (d *disk) cut(f flush) error {
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return os.NewSyscallError("shutdown "+d.kind.name, unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, int(f)))
}

// restart unmounts and mounts again, which replays the journal. What was only in the kernel's memory is gone.
func (d *disk) restart(renumber bool) error {
	if err := d.unmount(); err != nil {
		return err
	}
	if renumber {
		if err := d.attach(); err != nil {
			return err
		}
	}
	return d.mount()
}

// sync makes everything on it durable.
func (d *disk) sync() error {
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(dir.Fd())))
}

func (d *disk) close() {
	if d.on {
		if err := d.unmount(); err != nil {
			d.t.Error(err)
			_ = unix.Unmount(d.dir, unix.MNT_DETACH)
		}
	}
	d.detach()
}
