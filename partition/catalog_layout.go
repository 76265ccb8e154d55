package partition

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/storage"
)

// registered is what a layout knows of partitions that are registered, not found. It is filled as far as it was asked for.
type registered struct {
	folders map[string]string // on the table's storage
	refused map[string]error  // why a partition is not one to be changed
	behind  map[string][]behindColumn
}

// catalogLayout is the layout of a table whose partitions are those that a metastore has registered. With names only them are asked
// for: of thousands of partitions, most runs touch few.
func (t *Table) catalogLayout(ctx context.Context, declared []Column, names bool) (*layout, error) {
	l := &layout{exists: true, columns: declared, unlooked: true,
		registered: &registered{folders: map[string]string{}, refused: map[string]error{}, behind: map[string][]behindColumn{}}}
	list, err := t.catalog.Names(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(list)
	for _, name := range list {
		leaf := leaf{path: name}
		if name != "" {
			if leaf.spec, err = ParsePath(name); err != nil {
				return nil, err
			}
		}
		l.leaves = append(l.leaves, leaf)
	}
	l.index()
	if names {
		return l, nil
	}
	return l, t.learn(ctx, l, list)
}

// learn asks the metastore for what is registered of partitions. Those that are gone meanwhile lie nowhere.
func (t *Table) learn(ctx context.Context, l *layout, partitions []string) error {
	if len(partitions) == 0 {
		return nil
	}
	list, err := t.catalog.Partitions(ctx, partitions)
	if err != nil {
		return err
	}
	properties := make(map[string]map[string]string, len(list))
	for _, p := range list {
		properties[p.Name] = p.Properties
		if p.Refusal != nil {
			l.registered.refused[p.Name] = p.Refusal
		}
		if p.Folder != "" {
			l.registered.folders[p.Name] = p.Folder
		}
		if len(p.Behind) > 0 {
			l.registered.behind[p.Name] = p.Behind
		}
	}
	for i := range l.leaves {
		if of := properties[l.leaves[i].path]; of != nil {
			l.leaves[i].properties = of
		}
	}
	return nil
}

// publishable refuses partitions that a run touches and that can't be published: those that the catalog refuses, such
// as on another storage, and those that share a folder with another one.
func (t *Table) publishable(ctx context.Context, l *layout, partitions []string) error {
	if l.registered == nil {
		return nil
	}
	if err := t.learn(ctx, l, partitions); err != nil {
		return err
	}
	unusual := false
	for _, p := range partitions {
		if err := l.registered.refused[p]; err != nil {
			return locate(err, p, StepList)
		}
		folder := l.registered.folders[p]
		// A folder of its own: who shares it keeps the rows that are there now, and a publish gives this one a folder of its own.
		unusual = unusual || folder != path.Join(t.root, p) && !inside(folder, t.StateDir())
	}
	if !unusual {
		return nil
	}
	all := make([]string, len(l.leaves))
	for i, leaf := range l.leaves {
		all[i] = leaf.path
	}
	if err := t.learn(ctx, l, all); err != nil {
		return err
	}
	shared := l.registered.shared()
	for _, p := range partitions {
		if err := shared.refuse(p, l.registered.folders); err != nil {
			return locate(err, p, StepList)
		}
	}
	return nil
}

// sharing says with which other partition one has its folder in common.
type sharing map[string]string

// shared finds partitions whose folders are one, or lie in one another.
func (r *registered) shared() sharing {
	names := slices.SortedFunc(maps.Keys(r.folders), func(a, b string) int {
		return strings.Compare(r.folders[a]+"/\x00"+a, r.folders[b]+"/\x00"+b)
	})
	out := sharing{}
	outer := ""
	for i, name := range names {
		if i == 0 || !inside(r.folders[name], r.folders[outer]) {
			outer = name
			continue
		}
		out[name] = outer
		if out[outer] == "" {
			out[outer] = name
		}
	}
	return out
}

// refuse is an error where a partition has its folder in common with another.
func (s sharing) refuse(partition string, folders map[string]string) error {
	other, ok := s[partition]
	if !ok {
		return nil
	}
	const hint = "what is there would be of both; give one of them a folder of its own: ALTER TABLE ... PARTITION ... SET LOCATION"
	if folders[partition] == folders[other] {
		return fault(ErrLayout, "%s has the same location, %s", other, folders[other]).hint(hint)
	}
	return fault(ErrLayout, "its location, %s, and that of %s, %s, lie in one another", folders[partition], other, folders[other]).hint(hint)
}

// lookTable looks at a registered table's own folder, where other writers may have temporary folders.
func (l *layout) lookTable(ctx context.Context, fsys storage.FS, root string) error {
	w := &walker{fsys: fsys, root: root, layout: l}
	_, _, err := w.list(ctx, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its partitions may lie anywhere
	}
	return err
}

// dir is the folder of a partition, root being the table's; "" where it lies on another storage.
func (l *layout) dir(root, partition string) string {
	if l.registered == nil {
		return path.Join(root, partition)
	}
	return l.registered.folders[partition]
}

// behind are columns of the table that a registered partition's own list has not as the table has them.
func (l *layout) behind(partition string) []behindColumn {
	if l.registered == nil {
		return nil
	}
	return l.registered.behind[partition]
}

// refuses reports whether a registered partition can't be read or changed.
func (l *layout) refuses(partition string) bool { return l.refusal(partition) != nil }

// refusal is why a registered partition can't be read or changed; nil where it can.
func (l *layout) refusal(partition string) error {
	if l.registered == nil {
		return nil
	}
	return l.registered.refused[partition]
}
