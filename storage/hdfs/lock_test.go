package hdfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
)

// holder is another process that takes a lock and holds it.
func holder(tb testing.TB, s *servicetest.Services, name string) *exec.Cmd {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), os.Args[0], "-test.run=^TestHoldLock$", "-test.v")
	cmd.Env = append(os.Environ(), "HUPSERT_TEST_LOCK="+name, "HUPSERT_TEST_NAMENODE="+s.Namenodes[0])
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "HOLDS") {
			return cmd
		}
	}
	tb.Fatal("the other process has no lock")
	return nil
}

// TestHoldLock is that process.
func TestHoldLock(t *testing.T) {
	name := os.Getenv("HUPSERT_TEST_LOCK")
	if name == "" {
		t.Skip("the other process of TestLockOfDead")
	}
	at := os.Getenv("HUPSERT_TEST_NAMENODE")
	f, err := Open(Options{Address: Address{Name: at, Namenodes: []string{at}}, Pulse: 200 * time.Millisecond, Silence: 2500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lock(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stdout.WriteString("HOLDS\n"); err != nil {
		t.Fatal(err)
	}
	<-t.Context().Done()
	<-make(chan struct{})
}

// TestLockOfDead: a lock whose holder lives is refused, also by other processes; one whose holder was killed is taken.
func TestLockOfDead(t *testing.T) {
	s := servicetest.Shared(t)
	f, dir := connect(t, s, nil)
	name := path.Join(dir, "l")
	cmd := holder(t, s, name)
	for range 2 {
		if _, err := f.Lock(t.Context(), name); !errors.Is(err, storage.ErrLocked) {
			t.Fatalf("a lock that is held was taken: %v", err)
		}
		if held, err := f.Locked(t.Context(), name); !held || err != nil {
			t.Fatalf("held by another process: %t, %v", held, err)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if held, err := f.Locked(t.Context(), name); held || err != nil {
		t.Fatalf("its holder is dead: %t, %v", held, err)
	}
	l, err := f.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := gone(t.Context(), f, name); err != nil {
		t.Error(err)
	}
}

// TestLockOfStopped: who was taken for dead, and goes on, does not remove or move the new holder's lock.
func TestLockOfStopped(t *testing.T) {
	s := servicetest.Shared(t)
	f, dir := connect(t, s, nil)
	name := path.Join(dir, "l")
	cmd := holder(t, s, name)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l, err := f.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := f.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := rest(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if now, err := f.Stat(t.Context(), name); err != nil || now.ID != mine.ID {
		t.Errorf("the lock is %+v, %v; it was %+v", now, err, mine)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

// TestManyDeadLocks: who waited for one dead holder knows of the others in the folder.
func TestManyDeadLocks(t *testing.T) {
	f, dir := shared(t)
	for i := range 20 {
		put(t, f, path.Join(dir, fmt.Sprint(i)), nil) // nobody moves them
	}
	looked := 0
	for i := range 20 {
		l, err := f.Lock(t.Context(), path.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		if f.locks.waits > looked {
			looked = f.locks.waits
		}
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
	if looked > 3 {
		t.Errorf("waited for %d of 20 dead holders", looked)
	}
}

// TestLockLost: a holder whose file was taken away says so at the end by nothing, and removes nothing.
func TestLockLost(t *testing.T) {
	f, dir := shared(t)
	name := path.Join(dir, "l")
	l, err := f.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	put(t, f, name, []byte("another's"))
	if err := rest(t.Context(), 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	holds(t, f, name, []byte("another's"))
}

// TestLockInterrupted: a wait for a holder ends with its context, and the name is free again.
func TestLockInterrupted(t *testing.T) {
	f, dir := connect(t, servicetest.Shared(t), func(o *Options) { o.Silence = time.Hour })
	name := path.Join(dir, "l")
	put(t, f, name, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := f.Lock(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if err := f.Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	l, err := f.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Unlock(), isErr(l.Unlock(), fs.ErrClosed)); err != nil {
		t.Error(err)
	}
}

// TestLocksMoveUntilTheyEnd: the end of one lock does not end the others' pulse.
func TestLocksMoveUntilTheyEnd(t *testing.T) {
	f, dir := shared(t)
	var locks []storage.Unlocker
	var before []storage.Info
	for i := range 3 {
		l, err := f.Lock(t.Context(), path.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		locks = append(locks, l)
	}
	if err := locks[0].Unlock(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		info, err := f.Stat(t.Context(), path.Join(dir, fmt.Sprint(i)))
		if err := isErr(err, map[bool]error{true: fs.ErrNotExist}[i == 0]); err != nil {
			t.Fatal(err)
		}
		before = append(before, info)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := 1; i < 3; i++ {
		for {
			now, err := f.Stat(ctx, path.Join(dir, fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			if now.ModTime.After(before[i].ModTime) {
				break
			}
			if err := rest(ctx, 20*time.Millisecond); err != nil {
				t.Fatalf("lock %d does not move: %v", i, err)
			}
		}
		if err := locks[i].Unlock(); err != nil {
			t.Error(err)
		}
	}
}

// TestLostLockStays: whoever stood still until his lock was taken over removes no file of the new holder, by its name
// neither.
func TestLostLockStays(t *testing.T) {
	s := servicetest.Shared(t)
	slow, dir := connect(t, s, func(o *Options) { o.Pulse = time.Hour })
	f, _ := connect(t, s, nil)
	name := path.Join(dir, "l")
	lost, err := slow.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	heldHere.Lock() // as if it were another process
	delete(heldHere.names, slow.locks.key(name))
	heldHere.Unlock()
	l, err := f.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := lost.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat(t.Context(), name); err != nil {
		t.Fatalf("the new holder's lock is gone: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// TestLockOutlivesDialsThatHang: a holder whose connections break, and whose dials to a namenode hang, keeps its lock by others.
func TestLockOutlivesDialsThatHang(t *testing.T) {
	s := servicetest.Shared(t)
	slow, dir := connect(t, s, nil)
	f, _ := connect(t, s, nil)
	h := &hanging{}
	slow.dialer = h.dial
	name := path.Join(dir, "l")
	l, err := slow.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	heldHere.Lock() // as if it were another process
	delete(heldHere.names, slow.locks.key(name))
	heldHere.Unlock()
	h.choose(func(string) bool { return h.begun < 2 }) // the next ones
	slow.pool.mu.Lock()
	var broken []*client
	for _, at := range slow.pool.slots {
		if at.c != nil {
			broken = append(broken, at.c)
		}
	}
	slow.pool.mu.Unlock()
	for _, c := range broken {
		slow.pool.retire(c)
		c.interrupt()
	}
	for range 3 {
		if _, err := f.Lock(t.Context(), name); !errors.Is(err, storage.ErrLocked) {
			t.Fatalf("a living holder's lock was taken: %v", err)
		}
	}
	if h.begun < 2 {
		t.Errorf("%d dials hung", h.begun)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	if err := gone(t.Context(), f, name); err != nil {
		t.Error(err)
	}
}

// TestLookAtOwnFolder: who waits for a lock looks into its folder, in however many others locks were asked for meanwhile.
func TestLookAtOwnFolder(t *testing.T) {
	f, dir := shared(t)
	name := path.Join(dir, "l")
	put(t, f, name, nil)
	f.locks.asked(name)
	for i := range maxFolders {
		f.locks.asked(path.Join(dir, fmt.Sprint(i), "l"))
	}
	if _, there, err := f.locks.look(t.Context(), name); !there || err != nil {
		t.Errorf("a lock whose holder may be dead is not seen: %v", err)
	}
}

// TestLocksBehindASlowNamenode: a namenode that takes several pulses for each answer neither costs a living holder his lock,
// nor keeps that of a dead one for ever.
func TestLocksBehindASlowNamenode(t *testing.T) {
	quick := func(o *Options) { o.Pulse, o.Silence = 100*time.Millisecond, 600*time.Millisecond }
	p, slow, dir := through(t, quick)
	_, f, _ := through(t, quick)
	f.o.Address.Namenodes = slow.o.Address.Namenodes
	living, dead := path.Join(dir, "living"), path.Join(dir, "dead")
	put(t, f, dead, nil) // nobody moves it
	if _, err := slow.Lock(t.Context(), living); err != nil {
		t.Fatal(err)
	}
	heldHere.Lock() // as if it were another process
	delete(heldHere.names, slow.locks.key(living))
	heldHere.Unlock()
	for _, method := range []string{"setTimes", "getListing"} {
		p.keepBack(method, 1300*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := f.Lock(ctx, dead)
	if err != nil {
		t.Fatalf("the lock of a dead holder: %v", err)
	}
	for range 2 {
		if _, err := f.Lock(ctx, living); !errors.Is(err, storage.ErrLocked) {
			t.Fatalf("a living holder's lock was taken: %v", err)
		}
	}
	p.keepBack("setTimes", 0)
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

// TestStillness: what a look at a lock that has not moved counts for.
func TestStillness(t *testing.T) {
	h := &holdings{f: &FS{o: Options{Pulse: 2 * time.Second}}}
	start := time.Now()
	for what, c := range map[string]struct{ after, answering, want time.Duration }{
		"a quick answer":                 {time.Second, 10 * time.Millisecond, 6 * time.Second},
		"a slow one":                     {30 * time.Second, 29 * time.Second, 7 * time.Second},
		"a process that stood still":     {time.Hour, time.Second, 0},
		"a namenode that did not answer": {10 * time.Second, time.Second, 0},
	} {
		old := sight{still: 5 * time.Second, at: start, answering: time.Minute}
		if got := h.stillness(old, sight{at: start.Add(c.after), answering: time.Minute + c.answering}); got != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
}

// TestLockMadeWhileClosed: a lock that comes about while the file system is closed is not had, and nothing renews it.
func TestLockMadeWhileClosed(t *testing.T) {
	f, dir := shared(t)
	beats := running("holdings).beat")
	f.locks.close()
	if _, err := f.Lock(t.Context(), path.Join(dir, "l")); !errors.Is(err, errClosed) {
		t.Errorf("a lock of a closed file system: %v", err)
	}
	if now := running("holdings).beat"); now > beats {
		t.Errorf("%d renew locks", now-beats)
	}
}
