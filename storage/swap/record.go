package swap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hupsert/hupsert/storage/stage"
)

// place is the folder in which a run's record lies. The record's name is one fact on one file system,
// so it says what becomes of all partitions of the run.
type place string

// The places. A record is made in the first and moves down the list only.
const (
	committed place = "runs"      // the run is being finished
	takenBack place = "runs/undo" // the run met a conflict and is being undone
	done      place = "runs/done" // the run is finished
	nowhere   place = ""          // the run never committed, or is taken back
)

// record is the run record: created exclusively, durably, it is the commit of the whole run. It holds
// all that finishing the run needs, and undoing it.
type record struct {
	Run     string         `json:"run"`
	Command string         `json:"command"`
	Time    time.Time      `json:"time"`
	Entries []recordedSwap `json:"entries"` // all by one way
	// Registry is told of the partitions; "": readers find them by their paths.
	Registry string `json:"registry,omitempty"`
	Sum      string `json:"sum,omitempty"` // of all the above
}

// recordedSwap is one partition of a run record.
type recordedSwap struct {
	Partition string `json:"partition"`
	Version   int64  `json:"version"`
	Way       Way    `json:"way"`
	Staged    string `json:"staged,omitempty"`    // folder that goes live; "": the partition goes away
	StagedID  string `json:"staged_id,omitempty"` // its id, which it keeps when it is renamed
	Old       Inputs `json:"old"`                 // the partition before
	OldRun    string `json:"old_run,omitempty"`   // its name in the history
	// Folder is where the staged one goes that the registry is then pointed at. By the other ways it goes
	// to the partition's path.
	Folder string `json:"folder,omitempty"`
	Rows   int64  `json:"rows,omitempty"` // what the registry is told
	Bytes  int64  `json:"bytes,omitempty"`
	Files  int    `json:"files,omitempty"`
}

// byLocation reports whether the run is published by telling the registry of new folders.
func (r record) byLocation() bool { return len(r.Entries) > 0 && r.Entries[0].Way == Location }

func (r record) partitions() []string {
	out := make([]string, len(r.Entries))
	for i, e := range r.Entries {
		out[i] = e.Partition
	}
	return out
}

func (r record) touches(partitions []string) bool {
	return slices.ContainsFunc(r.Entries, func(e recordedSwap) bool { return slices.Contains(partitions, e.Partition) })
}

func (s *Store) recordName(at place, run string) string {
	return path.Join(s.state, string(at), run+".json")
}

// placeOf finds a run's record. The order is the one in which records move, so that one that moves
// meanwhile is not missed.
func (s *Store) placeOf(ctx context.Context, run string) (place, error) {
	for _, at := range []place{committed, takenBack, done} {
		if there, err := s.exists(ctx, s.recordName(at, run)); err != nil || there {
			return at, err
		}
	}
	return nowhere, nil
}

// openRecords reads the records of runs that are neither finished nor undone.
func (s *Store) openRecords(ctx context.Context) ([]record, error) {
	var out []record
	for _, at := range []place{committed, takenBack} {
		list, err := s.listed(ctx, string(at))
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			if i.IsDir() || !strings.HasSuffix(i.Name, ".json") {
				continue
			}
			rec, err := s.readRecord(ctx, at, strings.TrimSuffix(i.Name, ".json"))
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has moved on since it was listed
			}
			if err != nil {
				return nil, err
			}
			out = append(out, rec)
		}
	}
	return out, nil
}

func (s *Store) readRecord(ctx context.Context, at place, run string) (record, error) {
	var rec record
	name := s.recordName(at, run)
	if err := stage.ReadJSON(ctx, s.fsys, name, &rec); err != nil {
		return rec, err
	}
	if err := s.checkRecord(rec, run); err != nil {
		return rec, fmt.Errorf("%s is damaged: %w; restore it from a backup, no run goes on without it", name, err)
	}
	return rec, nil
}

// checkRecord refuses a record that is not as it was written: folders are moved by what it says.
func (s *Store) checkRecord(rec record, run string) error {
	if rec.Sum != rec.sum() {
		return errors.New("its checksum does not match")
	}
	if rec.Run != run {
		return fmt.Errorf("it is of run %s", rec.Run)
	}
	for _, e := range rec.Entries {
		if e.Partition != "" && (!fs.ValidPath(e.Partition) || e.Partition == ".") {
			return fmt.Errorf("%q is no partition", e.Partition)
		}
		if e.Staged != "" && path.Dir(path.Dir(path.Clean(e.Staged))) != s.staging(run) {
			return fmt.Errorf("%s is not staged by the run", e.Staged)
		}
		if e.Folder != "" && e.Folder != s.version(e.Partition, e.Version) || (e.Folder != "") != (e.Way == Location && e.Staged != "") {
			return fmt.Errorf("%q is not the folder of version %d of %q", e.Folder, e.Version, e.Partition)
		}
		if (e.Way == Location) != rec.byLocation() || e.Way == Location && rec.Registry == "" {
			return fmt.Errorf("%q is not published as the others", e.Partition)
		}
		if !e.Old.Absent && (!fs.ValidPath(e.OldRun) || strings.Contains(e.OldRun, "/") || e.OldRun == ".") {
			return fmt.Errorf("%q is no version", e.OldRun)
		}
	}
	return nil
}

// sum is the checksum of what a record says.
func (r record) sum() string {
	r.Sum = ""
	data, err := json.Marshal(r)
	if err != nil {
		return "" // a time that JSON can't hold is not written either
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// moveRecord turns the fate of a run, durably. A record that has moved already may have been moved by
// a process that was killed before it synced.
func (s *Store) moveRecord(ctx context.Context, run string, from, to place) error {
	source, target := s.recordName(from, run), s.recordName(to, run)
	if err := s.fsys.Rename(ctx, source, target); err != nil {
		there, serr := s.exists(ctx, target)
		if serr != nil || !there || !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, serr)
		}
	}
	return s.syncBoth(ctx, target, source)
}

// dropRecord ends a run that was taken back.
func (s *Store) dropRecord(ctx context.Context, run string) error {
	name := s.recordName(takenBack, run)
	if err := s.fsys.Remove(ctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.fsys.SyncDir(ctx, path.Dir(name))
}

// syncRecords makes durable where records lie, and where none does, before anything is done that rests
// on it: who moved or removed one may have been killed before it synced.
func (s *Store) syncRecords(ctx context.Context) error {
	for _, at := range []place{done, takenBack, committed} {
		if err := s.syncIfThere(ctx, path.Join(s.state, string(at))); err != nil {
			return err
		}
	}
	return nil
}
