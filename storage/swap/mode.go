package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/hupsert/hupsert/storage"
)

// ErrACL is of a partition whose access control list the storage can't carry over.
var ErrACL = errors.New("its access control list can't be carried over")

// pattern is what a staged folder is to be like.
type pattern struct {
	dir, file fs.FileMode    // modes of the folder and of its files
	blocks    storage.Blocks // of its files: those of the largest one
	like      *storage.Info  // the folder it takes after; nil: none
	of        string         // the name of that
}

// modeBits are those of a folder's mode that are carried over.
const modeBits = fs.ModePerm | fs.ModeSetgid | fs.ModeSticky

// pattern is what a partition's new folder takes after: the live one, else the nearest above its path.
func (s *Store) pattern(ctx context.Context, partition, live string) (pattern, error) {
	out := pattern{dir: 0o755, file: 0o644}
	var names []string
	if live != "" && live != s.live(partition) {
		names = append(names, live)
	}
	for name := s.live(partition); name != "/" && name != "." && name != path.Dir(s.table); name = path.Dir(name) {
		names = append(names, name) // what lies beside a table that is new is no example
	}
	for _, name := range names {
		info, err := s.fsys.Stat(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return out, err
		}
		out.dir, out.like, out.of = info.Mode&modeBits, &info, name
		out.file = out.dir.Perm() &^ 0o111
		list, err := s.fsys.List(ctx, name)
		if err != nil {
			return out, err
		}
		largest := int64(-1)
		for _, f := range list {
			if !f.Mode.IsRegular() {
				continue
			}
			out.file = f.Mode.Perm()
			if f.Size > largest {
				largest, out.blocks = f.Size, f.Blocks
			}
		}
		break
	}
	return out, nil
}

// dress gives a staged folder the owner, group, mode and access control list of another one. The mode once
// more, since a folder of the state may hand down set-group-id to what is staged in it.
func (s *Store) dress(ctx context.Context, dir, partition string, to pattern) error {
	err := s.fsys.SetAttr(ctx, dir, storage.Attr{Owner: &to.like.Owner, Group: &to.like.Group, Mode: &to.dir})
	// Only root may give files away; anybody else keeps the owner and may set the group.
	if err != nil && s.fsys.SetAttr(ctx, dir, storage.Attr{Group: &to.like.Group, Mode: &to.dir}) != nil {
		err = errors.Join(err, s.fsys.SetAttr(ctx, dir, storage.Attr{Mode: &to.dir}))
		s.o.Logger.Warn("owner and group are not carried over", "partition", partition, "error", err)
	}
	if !to.like.ACL {
		return nil
	}
	// Before there are files in it: they get theirs by what the folder hands down.
	if err := s.fsys.SetAttr(ctx, dir, storage.Attr{ACLOf: &to.of}); err != nil {
		if !s.o.IgnoreACL {
			return fmt.Errorf("%s: %w, which --ignore-acl goes without: %w", display(partition), ErrACL, err)
		}
		s.o.Logger.Warn("the access control list is not carried over", "partition", partition, "error", err)
	}
	return nil
}
