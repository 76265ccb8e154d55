package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/hupsert/hupsert/storage/stage"
)

// Inputs is a partition as it was read: what must still be there when the merged one goes live.
type Inputs struct {
	Absent bool         `json:"absent,omitempty"`
	ID     string       `json:"id,omitempty"` // of the folder
	Files  []stage.File `json:"files,omitempty"`
	// Folder is where readers find the partition: its path, or what a registry says. "": nowhere. A
	// registry may name a folder that is Absent.
	Folder string `json:"folder,omitempty"`
	Stamp  string `json:"stamp,omitempty"` // of its registration
}

// Inputs lists a live partition.
func (s *Store) Inputs(ctx context.Context, partition string) (Inputs, error) {
	all, err := s.InputsOf(ctx, []string{partition})
	return all[partition], err
}

// InputsOf lists live partitions, asking the registry once.
func (s *Store) InputsOf(ctx context.Context, partitions []string) (map[string]Inputs, error) {
	at, err := s.look(ctx, partitions)
	if err != nil {
		return nil, err
	}
	list := make([]Inputs, len(partitions))
	err = s.each(len(partitions), func(i int) (err error) {
		list[i], err = s.inputsAt(ctx, partitions[i], at[partitions[i]])
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make(map[string]Inputs, len(list))
	for i, p := range partitions {
		out[p] = list[i]
	}
	return out, nil
}

// LiveFolders says where readers find partitions, asking the registry once. Those that a registry does
// not know are left out; a path may lead to nothing.
func (s *Store) LiveFolders(ctx context.Context, partitions []string) (map[string]string, error) {
	at, err := s.look(ctx, partitions)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(at))
	for p, is := range at {
		out[p] = is.Folder
	}
	return out, nil
}

// inputsAt lists a partition at the folder that was just looked up.
func (s *Store) inputsAt(ctx context.Context, partition string, at Registered) (Inputs, error) {
	const looks = 3
	for look := 1; at.Folder != ""; look++ {
		in, err := s.list(ctx, at.Folder)
		if err != nil {
			return in, err
		}
		if s.o.Registry == nil {
			return in, nil
		}
		if in.Absent && s.isVersion(at.Folder) {
			// Readers were given another one between the look and the listing; or it is lost. That it is taken
			// for an empty partition must not be.
			if look == looks {
				return in, fmt.Errorf("%w: %s has %s at %s", ErrLost, s.o.Registry.URL(), display(partition), at.Folder)
			}
			again, err := s.look(ctx, []string{partition})
			if err != nil {
				return in, err
			}
			at = again[partition]
			continue
		}
		in.Folder, in.Stamp = at.Folder, at.Stamp
		return in, nil
	}
	return Inputs{Absent: true}, nil
}

func (s *Store) list(ctx context.Context, dir string) (Inputs, error) {
	info, err := s.fsys.Stat(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Inputs{Absent: true}, nil
	}
	if err != nil {
		return Inputs{}, err
	}
	files, err := stage.List(ctx, s.fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Inputs{Absent: true}, nil // it went just now
	}
	return Inputs{ID: info.ID, Files: files, Folder: dir}, err
}

func (a Inputs) bytes() (sum int64) {
	for _, f := range a.Files {
		sum += f.Size
	}
	return sum
}

// cameOrWent is a difference of listings.
const cameOrWent = "the partition's folder came or went"

// changed says how a partition differs from what it was, "" where it does not.
func (s *Store) changed(was, now Inputs) string {
	if s.o.Registry != nil {
		if diff := was.moved(now.registration()); diff != "" {
			return diff
		}
	}
	return was.differs(now)
}

func (a Inputs) registration() Registered { return Registered{Folder: a.Folder, Stamp: a.Stamp} }

// moved says how a partition's registration differs from what it was. What was read without a registry,
// or by an earlier release, tells less.
func (a Inputs) moved(now Registered) string {
	switch {
	case a.Folder == "" && !a.Absent:
		return ""
	case a.Folder == now.Folder:
		if a.Folder != "" && a.Stamp != "" && a.Stamp != now.Stamp {
			return "its registration in the metastore was changed"
		}
		return ""
	case a.Folder == "":
		return "it was added to the metastore, at " + now.Folder
	case now.Folder == "":
		return "it was dropped from the metastore"
	}
	return "it was moved in the metastore, to " + now.Folder
}

// differs says how two listings differ, "" where they do not. The folder's own id counts: a folder
// that was replaced may hold files of the same names and sizes.
func (a Inputs) differs(b Inputs) string {
	switch {
	case a.Absent != b.Absent:
		return cameOrWent
	case a.ID != b.ID:
		return "the partition's folder was replaced"
	}
	return differingFile(a.Files, b.Files)
}

func differingFile(a, b []stage.File) string {
	of := map[string]stage.File{}
	for _, f := range b {
		of[f.Name] = f
	}
	for _, f := range a {
		g, ok := of[f.Name]
		switch {
		case !ok:
			return f.Name + " is gone"
		case f.Size != g.Size || f.ID != g.ID || !f.ModTime.Equal(g.ModTime):
			return f.Name + " was changed"
		}
		delete(of, f.Name)
	}
	for name := range of {
		return name + " is new"
	}
	return ""
}
