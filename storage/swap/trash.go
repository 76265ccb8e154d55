package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
	"syscall"
)

// toTrash renames a folder of the state into the trash and removes it there: a removal that is
// interrupted leaves nothing half gone under a name that means something. In the trash it lies below
// the path it had, so that clearTrash knows where it came from. The suffix makes its name there its
// own.
func (s *Store) toTrash(ctx context.Context, from, suffix string) error {
	rel := strings.TrimPrefix(from, s.state)
	dir := path.Join(s.state, trashDir, path.Dir(rel))
	to := path.Join(dir, path.Base(from)+suffix)
	for {
		err := s.mkdirsAnyhow(ctx, dir)
		if isFull(err) && path.Base(dir) != trashDir {
			// What makes room must not need any.
			dir, err = path.Join(s.state, trashDir), nil
			to = path.Join(dir, flatTrash(rel+suffix))
		}
		if err != nil {
			return err
		}
		err = s.fsys.Rename(ctx, from, to)
		if err == nil {
			break
		}
		there, serr := s.exists(ctx, from)
		switch {
		case serr != nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist):
			return errors.Join(err, serr)
		case !there:
			return s.syncIfThere(ctx, path.Dir(from)) // gone already
		case errors.Is(err, fs.ErrExist): // left by a removal that was interrupted
			if err := s.clearTrash(ctx, strings.TrimPrefix(dir, path.Join(s.state, trashDir))); err != nil {
				return err
			}
		}
		// Else somebody has cleared the trash since its folders were made.
	}
	// Gone from where it meant something, for good, before any of its content goes. Somebody else may be
	// clearing the trash, who syncs first as well.
	for _, d := range []string{dir, path.Dir(from)} {
		if err := s.syncIfThere(ctx, d); err != nil {
			return err
		}
	}
	if err := s.removeAll(ctx, to); err != nil {
		return err
	}
	for ; path.Base(dir) != trashDir; dir = path.Dir(dir) {
		err := s.fsys.Remove(ctx, dir)
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			return nil // something else is in it, or somebody else has removed it
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// flatTrash is the name in the trash of what lies there without folders above it: on a full disk none can
// be made.
func flatTrash(rel string) string { return url.PathEscape(strings.TrimPrefix(rel, "/")) }

// origin is the folder, below the state, that something in the trash came from, given the folder of the
// trash that it lies in.
func origin(below, name string) string {
	if rel, err := url.PathUnescape(name); err == nil && below == "" && strings.Contains(rel, "/") {
		return path.Dir(rel)
	}
	return below
}

// isFull reports whether something is missing room.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// mkdirsAnyhow makes a folder of the trash. Its name need not last: what is lost with it is rid of.
func (s *Store) mkdirsAnyhow(ctx context.Context, dir string) error {
	for {
		err := s.fsys.Mkdir(ctx, dir, 0o755)
		switch {
		case errors.Is(err, fs.ErrExist):
			return nil
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := s.mkdirsAnyhow(ctx, path.Dir(dir)); err != nil {
			return err
		}
	}
}

// clearTrash removes what lies in the trash below a path of the state.
func (s *Store) clearTrash(ctx context.Context, below string) error {
	dir := path.Join(s.state, trashDir, below)
	list, err := s.fsys.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) || len(list) == 0 && err == nil {
		return nil
	}
	if err != nil {
		return err
	}
	// Who moved it here may have been killed before the move was durable: if it came undone when the
	// content is gone, half a folder would be back.
	origins := []string{below}
	for _, i := range list {
		origins = append(origins, origin(below, i.Name))
	}
	slices.Sort(origins)
	if err := s.syncIfThere(ctx, dir); err != nil {
		return err
	}
	for _, o := range slices.Compact(origins) {
		if err := s.syncIfThere(ctx, path.Join(s.state, o)); err != nil {
			return err
		}
	}
	for _, i := range list {
		if i.IsDir() {
			if err := s.clearTrash(ctx, path.Join(below, i.Name)); err != nil {
				return err
			}
		}
		err := s.fsys.Remove(ctx, path.Join(dir, i.Name))
		// Another process may be clearing it too, or have put something in again.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("clear the trash: %w", err)
		}
	}
	return nil
}
