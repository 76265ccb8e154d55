package metastore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/swap"
)

// mostHeartbeat is the longest time between heartbeats, whatever the metastore allows.
const mostHeartbeat = 20 * time.Second

// Hold takes the metastore's exclusive lock of partitions ("" is the table) and keeps it alive until release. It waits LockWait for
// who holds one: then swap.ErrLocked (and storage.ErrLocked), which names the holder.
func (r *Registry) Hold(ctx context.Context, partitions []string, run string) (release func() error, err error) {
	if len(partitions) == 0 {
		return func() error { return nil }, nil
	}
	request := r.lockRequest(partitions, run)
	answer, err := r.requestLock(ctx, request)
	if err != nil {
		return nil, err
	}
	id := answer.Lockid
	state, err := r.awaitLock(ctx, id, answer.State)
	if err == nil && state == hmsapi.LockState_ACQUIRED {
		return r.keepAlive(ctx, id, run), nil
	}
	if err == nil {
		err = r.lockedBy(ctx, partitions, id)
	}
	// The lock would be given to us later, and nobody would end it.
	return nil, errors.Join(err, r.unlock(context.WithoutCancel(ctx), id))
}

func (r *Registry) lockRequest(partitions []string, run string) *hmsapi.LockRequest {
	request := hmsapi.NewLockRequest()
	request.User, request.Hostname = r.m.c.User, "unknown"
	if host, err := os.Hostname(); err == nil {
		request.Hostname = host
	}
	if request.User == "" {
		request.User = "hupsert"
	}
	request.AgentInfo = fmt.Sprintf(agentFormat, run, os.Getpid())
	for _, partition := range partitions {
		c := hmsapi.NewLockComponent()
		c.Type, c.Level, c.Dbname, c.Tablename = hmsapi.LockType_EXCLUSIVE, hmsapi.LockLevel_TABLE, r.database, &r.table
		c.OperationType = hmsapi.DataOperationType_NO_TXN
		if partition != "" {
			c.Level, c.Partitionname = hmsapi.LockLevel_PARTITION, &partition
		}
		request.Component = append(request.Component, c)
	}
	return request
}

// agentFormat is what a lock of ours says of who holds it: the run and its process.
const agentFormat = "hupsert %s (process %d)"

// Evict ends locks of partitions ("" is the table) that runs of ours asked for and that ifDead finds dead: a metastore lets a lock live
// for minutes without a heartbeat, and a killed run shall not keep the next one out for that long. A lock goes as a whole.
func (r *Registry) Evict(ctx context.Context, partitions []string, ifDead func(run string, end func() error) error) error {
	locks, err := r.locks(ctx)
	if err != nil {
		return err
	}
	seen := map[int64]bool{}
	for _, l := range locks {
		var run string
		var process int
		if n, _ := fmt.Sscanf(l.GetAgentInfo(), agentFormat, &run, &process); n == 0 || seen[l.Lockid] || l.State != hmsapi.LockState_ACQUIRED {
			continue
		}
		if name := l.GetPartname(); name != "" && !slices.Contains(partitions, name) && !slices.Contains(partitions, "") {
			continue
		}
		seen[l.Lockid] = true
		if err := ifDead(run, func() error { return r.unlock(ctx, l.Lockid) }); err != nil {
			return err
		}
	}
	return nil
}

// requestLock asks for a lock. Where the connection breaks, the lock may have been given all the same: it is looked for, and
// ended.
func (r *Registry) requestLock(ctx context.Context, request *hmsapi.LockRequest) (*hmsapi.LockResponse, error) {
	var answer *hmsapi.LockResponse
	err := r.m.call(ctx, "lock", once, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) (err error) {
		answer, err = api.Lock(ctx, request)
		return err
	})
	if err != nil && (errors.Is(err, errUnknown) || ctx.Err() != nil) {
		err = errors.Join(err, r.clean(context.WithoutCancel(ctx), request))
	}
	return answer, at(err, r.name())
}

// clean ends the lock of a request whose answer was lost, if it was given.
func (r *Registry) clean(ctx context.Context, request *hmsapi.LockRequest) error {
	list, err := r.locks(ctx)
	if err != nil {
		return err
	}
	for _, l := range list {
		if l.GetAgentInfo() == request.AgentInfo && l.Hostname == request.Hostname {
			err = errors.Join(err, r.unlock(ctx, l.Lockid))
		}
	}
	return err
}

// awaitLock asks until the lock is given, or LockWait is over.
func (r *Registry) awaitLock(ctx context.Context, id int64, state hmsapi.LockState) (hmsapi.LockState, error) {
	started := time.Now()
	for pause := 50 * time.Millisecond; state == hmsapi.LockState_WAITING; pause = min(2*pause, 2*time.Second) {
		left := r.o.LockWait - time.Since(started)
		if left <= 0 {
			return state, nil
		}
		if err := rest(ctx, min(pause, left)); err != nil {
			return state, err
		}
		err := r.m.call(ctx, "check the lock", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
			answer, err := api.CheckLock(ctx, &hmsapi.CheckLockRequest{Lockid: id})
			if err == nil {
				state = answer.State
			}
			return err
		})
		if err != nil {
			return state, at(err, r.name())
		}
	}
	return state, nil
}

// lockedBy names who holds what we wait for.
func (r *Registry) lockedBy(ctx context.Context, partitions []string, ours int64) error {
	locks, err := r.locks(ctx)
	if err != nil {
		locks = nil
	}
	wanted := make(map[string]bool, len(partitions))
	for _, partition := range partitions {
		wanted[partition] = true
	}
	e := &Error{Table: r.name(), Err: &text{"it is locked in the metastore", []error{swap.ErrLocked, storage.ErrLocked}}}
	for _, l := range locks {
		name := l.GetPartname()
		if l.Lockid == ours || l.State != hmsapi.LockState_ACQUIRED || name != "" && !wanted[name] && !wanted[""] {
			continue
		}
		who := l.User + " on " + l.Hostname
		if info := l.GetAgentInfo(); info != "" {
			who += ", " + info
		}
		e.Partition = name
		e.Err = &text{"it is locked in the metastore by " + who, []error{swap.ErrLocked, storage.ErrLocked}}
		return e.hint("--lock-wait waits for it; UNLOCK TABLE, or the end of whoever holds lock %d, ends it", l.Lockid)
	}
	return e.hint("--lock-wait waits for it; SHOW LOCKS in Hive tells who holds it")
}

// locks lists the locks of the table and its partitions.
func (r *Registry) locks(ctx context.Context) ([]*hmsapi.ShowLocksResponseElement, error) {
	var list []*hmsapi.ShowLocksResponseElement
	err := r.m.call(ctx, "show locks", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		request := hmsapi.NewShowLocksRequest()
		request.Dbname, request.Tablename = &r.database, &r.table
		answer, err := api.ShowLocks(ctx, request)
		if err == nil {
			list = answer.Locks
		}
		return err
	})
	return list, at(err, r.name())
}

// unlock ends a lock; one that has ended is fine.
func (r *Registry) unlock(ctx context.Context, id int64) error {
	err := r.m.call(ctx, "unlock", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		return api.Unlock(ctx, &hmsapi.UnlockRequest{Lockid: id})
	})
	var none *hmsapi.NoSuchLockException
	if errors.As(err, &none) {
		return nil
	}
	return at(err, r.name())
}

// keepAlive sends heartbeats until release, which ends the lock. A lock that is lost is told and not taken again: nothing rests on
// it.
func (r *Registry) keepAlive(ctx context.Context, id int64, run string) (release func() error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var beating sync.WaitGroup
	beating.Go(func() {
		for every := r.heartbeat(ctx); rest(ctx, every) == nil; {
			err := r.m.call(ctx, "heartbeat", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
				return api.Heartbeat(ctx, &hmsapi.HeartbeatRequest{Lockid: &id})
			})
			var none *hmsapi.NoSuchLockException
			if errors.As(err, &none) {
				r.m.c.Logger.Warn("the metastore's lock is lost", "table", r.name(), "run", run, "lock", id)
				return
			}
			if err != nil && ctx.Err() == nil {
				r.m.c.Logger.Debug("no heartbeat for the metastore's lock", "table", r.name(), "lock", id, "error", err)
			}
		}
	})
	var ended sync.Once
	var err error
	return func() error {
		ended.Do(func() {
			cancel()
			beating.Wait()
			err = r.unlock(context.WithoutCancel(ctx), id)
		})
		return err
	}
}

// heartbeat is how often: a third of what the metastore says a lock lives without.
func (r *Registry) heartbeat(ctx context.Context) time.Duration {
	if r.o.Heartbeat > 0 {
		return r.o.Heartbeat
	}
	var allowed string
	err := r.m.call(ctx, "ask for the time-out of locks", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) (err error) {
		allowed, err = api.GetConfigValue(ctx, "hive.txn.timeout", "")
		return err
	})
	if err != nil {
		return mostHeartbeat
	}
	if d, err := parseDuration(allowed); err == nil && d > 0 {
		return min(d/3, mostHeartbeat)
	}
	return mostHeartbeat
}
