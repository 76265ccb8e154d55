package metastore

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/swap"
)

func TestHold(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t)
		one, two := s.Registry(table, RegistryOptions{}), s.Registry(table, RegistryOptions{LockWait: 200 * time.Millisecond})
		release, err := one.Hold(t.Context(), []string{"dt=2026-01-01/hr=1", "dt=2026-01-01/hr=2"}, "20260101T000000Z-aaaa")
		if err != nil {
			t.Fatal(err)
		}
		for _, wanted := range []string{"dt=2026-01-01/hr=2", ""} {
			_, err = two.Hold(t.Context(), []string{wanted}, "20260101T000000Z-bbbb")
			if !errors.Is(err, swap.ErrLocked) || !errors.Is(err, storage.ErrLocked) || !strings.Contains(err.Error(), "hupsert 20260101T000000Z-aaaa") {
				t.Errorf("%s: %v", wanted, err)
			}
		}
		other, err := two.Hold(t.Context(), []string{"dt=2026-01-01/hr=3"}, "20260101T000000Z-bbbb")
		if err != nil {
			t.Errorf("another partition: %v", err)
		}
		// Who waits gets it when it is free, and who gave up does not.
		patient := s.Registry(table, RegistryOptions{LockWait: time.Minute})
		got := make(chan error, 1)
		go func() {
			last, err := patient.Hold(context.Background(), []string{"dt=2026-01-01/hr=1"}, "20260101T000000Z-cccc")
			if err == nil {
				err = last()
			}
			got <- err
		}()
		for range 2 { // the second time does nothing
			if err := release(); err != nil {
				t.Error(err)
			}
		}
		if err := <-got; err != nil {
			t.Errorf("who waited got %v", err)
		}
		if err := other(); err != nil {
			t.Error(err)
		}
		if left, err := one.locks(t.Context()); err != nil || len(left) != 0 {
			t.Errorf("locks are left: %v, %v", left, err)
		}
	})
}

// Locks of the shared metastore 3.1 end after 6 s without a heartbeat.
func TestHeartbeats(t *testing.T) {
	s := serve(t, address(t, "3.1"))
	table := s.create(t)
	alive, dead := s.Registry(table, RegistryOptions{}), s.Registry(table, RegistryOptions{Heartbeat: time.Hour})
	if every := alive.heartbeat(t.Context()); every != 2*time.Second {
		t.Errorf("a heartbeat every %v, where locks live for 6 s", every)
	}
	release, err := alive.Hold(t.Context(), []string{"dt=2026-01-01/hr=1"}, "alive")
	if err != nil {
		t.Fatal(err)
	}
	releaseDead, err := dead.Hold(t.Context(), []string{"dt=2026-01-01/hr=2"}, "dead")
	if err != nil {
		t.Fatal(err)
	}
	// The metastore takes the lock of a holder that is silent.
	next := s.Registry(table, RegistryOptions{LockWait: time.Minute})
	taken, err := next.Hold(t.Context(), []string{"dt=2026-01-01/hr=2"}, "next")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dead.Hold(t.Context(), []string{"dt=2026-01-01/hr=1"}, "late"); !errors.Is(err, swap.ErrLocked) {
		t.Errorf("the lock of a holder that lives: %v", err)
	}
	if err := errors.Join(release(), releaseDead(), taken()); err != nil {
		t.Error(err)
	}
}

// Locks of runs that are dead are ended, those of others are not.
func TestEvict(t *testing.T) {
	s := serve(t, address(t, "3.1"))
	table := s.create(t)
	r := s.Registry(table, RegistryOptions{})
	holds := map[string]string{"dead": "dt=2026-01-01/hr=1", "alive": "dt=2026-01-01/hr=2", "dead-elsewhere": "dt=2026-01-01/hr=3"}
	var releases []func() error
	for run, partition := range holds {
		release, err := r.Hold(t.Context(), []string{partition}, run)
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	var asked []string
	err := r.Evict(t.Context(), []string{holds["dead"], holds["alive"]}, func(run string, end func() error) error {
		if asked = append(asked, run); run == "alive" {
			return nil
		}
		return end()
	})
	slices.Sort(asked)
	if err != nil || !slices.Equal(asked, []string{"alive", "dead"}) {
		t.Errorf("asked for %v: %v", asked, err)
	}
	for run, partition := range holds {
		release, err := r.Hold(t.Context(), []string{partition}, "next")
		if taken := err == nil; taken != (run == "dead") {
			t.Errorf("the lock of %s: %v", run, err)
		}
		if err == nil {
			releases = append(releases, release)
		}
	}
	for _, release := range releases {
		if err := release(); err != nil {
			t.Error(err)
		}
	}
}

// Where the answer to a lock is lost, the lock does not stay.
func TestALockWhoseAnswerIsLost(t *testing.T) {
	s := serve(t, address(t, "3.1"))
	table := s.create(t)
	r := s.Registry(table, RegistryOptions{})
	partitions := []string{"dt=2026-01-01/hr=1"}
	request := r.lockRequest(partitions, "lost")
	given := false
	err := s.call(t.Context(), "lock", once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		answer, err := api.Lock(ctx, request)
		given = err == nil && answer.State == hmsapi.LockState_ACQUIRED
		return errors.New("the connection broke")
	})
	if !given || !errors.Is(err, errUnknown) {
		t.Fatal(given, err)
	}
	if err := r.clean(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	release, err := r.Hold(t.Context(), partitions, "next")
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

// A lock that is lost is told.
func TestALostLock(t *testing.T) {
	var log strings.Builder
	shared := address(t, "3.1")
	s := serve(t, shared)
	told := make(chan struct{})
	s.c.Logger = slog.New(slog.NewTextHandler(tell{&log, told}, nil))
	table := s.create(t)
	r := s.Registry(table, RegistryOptions{Heartbeat: 50 * time.Millisecond})
	release, err := r.Hold(t.Context(), []string{"dt=2026-01-01/hr=1"}, "unlucky")
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.locks(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := r.unlock(t.Context(), list[0].Lockid); err != nil {
		t.Fatal(err)
	}
	<-told
	if err := release(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "lock is lost") || !strings.Contains(log.String(), "unlucky") {
		t.Error(log.String())
	}
}

// tell is a log that says when something is in it.
type tell struct {
	to   *strings.Builder
	told chan struct{}
}

func (w tell) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	close(w.told)
	return n, err
}
