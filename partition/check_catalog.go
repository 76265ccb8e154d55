package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"

	"github.com/hupsert/hupsert/storage/swap"
)

// checkCatalog compares what a metastore says of the table with what is there.
func (c *checker) checkCatalog(ctx context.Context, checked []*checkedPartition) error {
	if c.catalog == nil {
		return nil
	}
	for _, p := range checked {
		if err := c.checkRegistered(p); err != nil {
			return err
		}
	}
	for _, leaf := range c.layout.leaves {
		if err := c.layout.publishable([]string{leaf.path}); err != nil {
			var e *Error
			errors.As(err, &e)
			c.find(Finding{Severity: SeverityError, Kind: FoundLayout, Partition: leaf.path, Count: 1, Message: e.Err.Error(), Hint: e.Hint})
		}
	}
	if len(c.options.Partitions) > 0 {
		return nil
	}
	return c.checkUnregistered(ctx)
}

// checkRegistered compares a partition with its registration.
func (c *checker) checkRegistered(p *checkedPartition) error {
	if p.missing {
		p.find(Finding{Severity: SeverityError, Kind: FoundMissing, Count: 1,
			Message: fmt.Sprintf("its folder %s is not there: readers get no rows from it, and no error", p.dir()),
			Hint:    "put the folder back, or drop the partition in the metastore: ALTER TABLE ... DROP PARTITION"})
		return nil
	}
	if p.schema != nil {
		if err := p.checkDeclared(); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		property string
		is       int64
		what     string
	}{{"numRows", p.rows, "rows"}, {"numFiles", int64(p.files), "files"}, {"totalSize", p.bytes, "bytes"}} {
		text := p.leaf.properties[s.property]
		if told, err := strconv.ParseInt(text, 10, 64); err == nil && told >= 0 && told != s.is && p.bad == 0 {
			p.find(Finding{Severity: SeverityWarning, Kind: FoundStaleCatalog, Count: 1,
				Message: fmt.Sprintf("the metastore has %s = %d, and there are %d %s: Hive may answer count(*) from it, and planners go by it", s.property, told, s.is, s.what),
				Hint:    fmt.Sprintf("hupsert check %s --repair %s sets it right; so does ANALYZE TABLE", c.url, asSpec(p.leaf.path))})
			break // what wrote one wrong wrote all
		}
	}
	return nil
}

// checkDeclared compares the columns of a partition's files with those of the metastore.
func (p *checkedPartition) checkDeclared() error {
	declared, err := ParseSchema(p.config.Schema)
	if err != nil {
		return err
	}
	if _, err := readable(p.schema, declared, p.byPosition); err != nil {
		var e *Error
		errors.As(err, &e)
		p.find(Finding{Severity: SeverityError, Kind: FoundConflict, Column: e.Column, Count: 1, Message: e.Column + ": " + e.Err.Error(), Hint: e.Hint})
	}
	var more []string
	for _, f := range p.schema.Fields() {
		if len(foldIndices(declared, f.Name)) == 0 {
			more = append(more, f.Name)
		}
	}
	if len(more) > 0 {
		p.find(Finding{Severity: SeverityWarning, Kind: FoundDrift, Count: int64(len(more)), Samples: more[:min(len(more), sampled)],
			Message: plural(int64(len(more)), "column", "columns") + " of the files that the metastore does not know: readers do not see them",
			Hint:    "ALTER TABLE ... ADD COLUMNS, if they are meant; merges carry them along"})
	}
	return nil
}

// checkUnregistered looks for folders in the table's folder that look like partitions and are none.
func (c *checker) checkUnregistered(ctx context.Context) error {
	if len(c.layout.columns) == 0 {
		return nil
	}
	found, _, err := discoverAnyhow(ctx, c.fsys, c.root, c.layout.columns)
	if err != nil || !found.exists {
		return err
	}
	taken := map[string]bool{}
	for _, leaf := range c.layout.leaves {
		taken[c.layout.dir(c.root, leaf.path)] = true
	}
	for _, leaf := range found.leaves {
		dir := path.Join(c.root, leaf.path)
		if taken[dir] || c.layout.has(leaf) {
			continue
		}
		files, err := c.dataFiles(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) == 0 {
			continue
		}
		c.find(Finding{Severity: SeverityWarning, Kind: FoundUnregistered, Partition: leaf.path, Count: int64(len(files)),
			Message: fmt.Sprintf("%s of a partition that the metastore does not have: readers do not see them", plural(int64(len(files)), "file", "files")),
			Hint:    fmt.Sprintf("hupsert check %s --repair %s registers it; if nobody needs it, remove the folder", c.url, asSpec(leaf.path))})
	}
	return nil
}

// has reports whether a partition of the same values is registered.
func (l *layout) has(other leaf) bool {
	spec, err := canonicalSpec(l.columns, other.spec)
	return err == nil && len(l.byValue[spec.Path()]) > 0
}

// asSpec is a partition's path as --partition takes it.
func asSpec(partition string) string {
	if spec, err := ParsePath(partition); err == nil {
		return spec.String()
	}
	return partition
}

// repair makes the metastore know the partitions that are named: folders that it lacks are registered, and what it
// says of the sizes of others is set right.
func (c *checker) repair(ctx context.Context) (err error) {
	if len(c.options.Repair) == 0 {
		return nil
	}
	if c.catalog == nil {
		return fault(ErrUsage, "repair: %s is not a table of a metastore", c.url).hint("name it as hive://host:9083/db.table")
	}
	id, err := c.newRunID(ctx)
	if err != nil {
		return err
	}
	run, err := c.begin(ctx, id, "repair", len(c.layout.columns) > 0)
	if err != nil {
		return swapError(err)
	}
	defer func() { err = errors.Join(err, run.Abort(ctx)) }()
	var list []swap.Pointer
	for _, text := range c.options.Repair {
		p, err := c.repairOf(ctx, text)
		if err != nil {
			return locate(err, text, StepCheck)
		}
		list = append(list, p)
		c.report.Repaired = append(c.report.Repaired, p.Partition)
	}
	if err := run.Lease(ctx, c.report.Repaired); err != nil {
		return swapError(err)
	}
	if err := c.catalog.Point(ctx, list); err != nil {
		return swapError(err)
	}
	c.layout, err = c.listLayout(ctx, c.layout.columns)
	return err
}

// repairOf settles what is registered of one partition.
func (c *checker) repairOf(ctx context.Context, text string) (swap.Pointer, error) {
	spec, err := ParseSpec(text)
	if err == nil {
		spec, err = canonicalSpec(c.layout.columns, spec)
	}
	if err != nil {
		return swap.Pointer{}, err
	}
	name, registered, err := c.layout.find(spec)
	if err != nil {
		return swap.Pointer{}, err
	}
	p := swap.Pointer{Partition: name, Folder: path.Join(c.root, name)}
	if registered {
		p.Folder = c.layout.dir(c.root, name)
		p.Was = p.Folder
	} else if found, ok, err := c.folderOf(ctx, spec); err != nil {
		return p, err
	} else if ok {
		p.Partition, p.Folder = found, path.Join(c.root, found)
	}
	versions, err := c.store.History(ctx, name)
	if err != nil {
		return p, err
	}
	if n := len(versions); n > 0 && versions[n-1].Path == p.Folder {
		p.Run, p.Version = versions[n-1].Run, versions[n-1].Number
	}
	info, err := c.describeFolder(ctx, p.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return p, fault(ErrNotFound, "there is no folder %s", p.Folder).hint("put it back, or drop the partition in the metastore")
	}
	p.Rows, p.Bytes, p.Files = info.Rows, info.Bytes, len(info.Files)
	return p, err
}

// folderOf finds the folder below the table of a partition that is not registered: 05 may be written for 5.
func (c *checker) folderOf(ctx context.Context, spec Spec) (string, bool, error) {
	found, _, err := discoverAnyhow(ctx, c.fsys, c.root, c.layout.columns)
	if err != nil {
		return "", false, err
	}
	name, exists, err := found.find(spec)
	return name, exists, err
}
