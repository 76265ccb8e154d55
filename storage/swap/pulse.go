package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/hupsert/hupsert/storage"
)

// The usual times of a pulse. A machine that stands still for longer than the silence, while it holds a lock that
// another one does not see, is taken for dead; when it goes on it finds its staging gone and fails.
const (
	usualPulse   = 3 * time.Second
	usualSilence = 15 * time.Second
)

// pulse shows other machines that a run lives, or that somebody is ending it, by writing the file beside its lock
// anew. Most runs end before the first time.
type pulse struct {
	stop  context.CancelFunc
	ended chan struct{}
}

// runHolder is the file with a run's pulse. It is there before there is anything else of the run, and goes last
// but for the lock.
func (s *Store) runHolder(run string) string { return s.runLock(run) + holderEnding }

// newEnding ends the name of a holder's file that is being written anew.
const newEnding = ".new"

// carry names us as the one who carries a run on, and begins a pulse where there are machines that do not see the lock.
func (s *Store) carry(ctx context.Context, run string) (*pulse, error) {
	err := s.writeHolder(ctx, s.runHolder(run), run)
	if err != nil {
		return nil, err
	}
	if s.o.Owner.Machine == "" {
		return nil, nil // all machines see the lock, and need no pulse beside it
	}
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &pulse{stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		for n := int64(1); rest(beating, s.o.Pulse) == nil; n++ {
			// What is begun is carried to its end, so that nothing is left beside the file.
			if err := s.beat(context.WithoutCancel(ctx), run, n); err != nil {
				s.o.Logger.Warn("other machines are not shown that the run lives", "run", run, "error", err)
			}
		}
	}()
	return p, nil
}

// end ends a pulse: when it returns, nothing is written any more.
func (p *pulse) end() {
	if p != nil {
		p.stop()
		<-p.ended
	}
}

// beat writes a run's file anew, unless it is not ours any more.
func (s *Store) beat(ctx context.Context, run string, n int64) error {
	name := s.runHolder(run)
	_, o, err := s.readHolder(ctx, name)
	if err != nil || o.Run != run || o.Machine != s.o.Owner.Machine || o.PID != s.o.Owner.PID {
		return err
	}
	o.Pulse = n
	err = s.put(ctx, name+newEnding, o)
	if errors.Is(err, fs.ErrExist) { // of somebody who was killed while it wrote its pulse
		if err = s.fsys.Remove(ctx, name+newEnding); err == nil {
			err = s.put(ctx, name+newEnding, o)
		}
	}
	if err != nil {
		return err
	}
	if err := s.fsys.Replace(ctx, name+newEnding, name); err != nil {
		return errors.Join(err, s.fsys.Remove(ctx, name+newEnding))
	}
	return nil
}

// deserted checks that nobody on another machine carries a run on, whose lock we have on ours: not every shared
// folder has locks that reach beyond one machine. Who lives shows a pulse; who is gone stands still for the
// silence, by our clock and not by theirs. storage.ErrLocked: it lives.
func (s *Store) deserted(ctx context.Context, run string) error {
	name := s.runHolder(run)
	first, o, err := s.readHolder(ctx, name)
	if err != nil || o.Machine == "" || o.Machine == s.o.Owner.Machine {
		return err // it has ended; or who carried it on was here and is gone, or we had no lock
	}
	s.o.Logger.Info("waiting to see whether a run on another machine lives", "run", run, "host", o.Host, "up_to", s.o.Silence)
	for started := time.Now(); time.Since(started) < s.o.Silence; {
		if err := rest(ctx, min(s.o.Pulse, s.o.Silence)/2); err != nil {
			return err
		}
		now, _, err := s.readHolder(ctx, name)
		switch {
		case err != nil:
			return err
		case now == "":
			return nil // it has just ended
		case now != first:
			return fmt.Errorf("%w: run %s lives on %s", storage.ErrLocked, run, o.Host)
		}
	}
	return nil
}
