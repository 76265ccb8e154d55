package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"

	"github.com/hupsert/hupsert/storage/swap"
)

// checkCatalog compares what a metastore says of the table with what is there.
func (c *checker) checkCatalog(ctx context.Context, checked []*checkedPartition) error {
	if c.catalog == nil {
		return nil
	}
	shared := c.layout.registered.shared()
	for _, p := range checked {
		err := c.layout.refusal(p.leaf.path)
		if err == nil {
			err = shared.refuse(p.leaf.path, c.layout.registered.folders)
		}
		if err != nil {
			p.findRefusal(err)
		}
		if c.layout.refusal(p.leaf.path) == nil {
			if err := c.checkRegistered(p); err != nil {
				return err
			}
		}
	}
	if len(c.options.Partitions) > 0 {
		return nil
	}
	return c.checkUnregistered(ctx)
}

// findRefusal tells why a partition would be refused.
func (p *checkedPartition) findRefusal(err error) {
	var e *Error
	text := err.Error()
	if errors.As(err, &e) {
		text = e.Err.Error()
	}
	p.find(Finding{Severity: SeverityError, Kind: FoundLayout, Count: 1, Message: text, Hint: Hint(err)})
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
				Hint:    fmt.Sprintf("hupsert check %s --repair %s sets it right; so does ANALYZE TABLE", ShellQuote(c.url), ShellQuote(asSpec(p.leaf.path)))})
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
	_, err = readable(p.schema, declared)
	if p.byPosition {
		for _, f := range p.good {
			if err == nil {
				err = inPlace(f.schema, declared, f.Name)
			}
		}
	}
	var e *Error
	if errors.As(err, &e) {
		f := Finding{Severity: SeverityError, Kind: FoundConflict, File: e.File, Column: e.Column, Count: 1, Message: e.Err.Error(), Hint: e.Hint}
		if e.Column != "" {
			f.Message = e.Column + ": " + f.Message
		}
		p.find(f)
	}
	p.checkOwnColumns()
	if more := undeclared(p.schema, declared); len(more) > 0 {
		p.find(Finding{Severity: SeverityWarning, Kind: FoundDrift, Count: int64(len(more)), Samples: more[:min(len(more), sampled)],
			Message: plural(int64(len(more)), "column", "columns") + " of the files that the metastore does not know: readers do not see them",
			Hint:    "ALTER TABLE ... ADD COLUMNS, if they are meant; merges carry them along"})
	}
	return nil
}

// checkOwnColumns compares the columns that the metastore has for a partition with those that it has for the table.
func (p *checkedPartition) checkOwnColumns() {
	var lacks, moved []string
	for _, c := range p.layout.behind(p.leaf.path) {
		switch {
		case c.Own == "":
			lacks = append(lacks, c.Name)
		case c.Own == c.Type:
			moved = append(moved, c.Name)
		default:
			f := Finding{Severity: SeverityWarning, Kind: FoundDrift, Column: c.Name, Count: 1,
				Message: fmt.Sprintf("%s: the metastore has it as %s for this partition and as %s for the table: Hive reads the files by the partition's", c.Name, c.Own, c.Type),
				Hint:    "the next upsert of the partition gives it the table's columns; so does ALTER TABLE ... CHANGE COLUMN ... CASCADE"}
			if own, err := ParseSchema("c " + c.Own); err == nil {
				if at := foldIndices(p.schema, c.Name); len(at) == 1 && !fits(p.schema.Field(at[0]).Type, own.Field(0).Type) {
					f.Severity, f.Kind = SeverityError, FoundConflict
					f.Message = fmt.Sprintf("%s: the metastore has it as %s for this partition, and the files as %s: Hive can't read it", c.Name, c.Own, TypeName(p.schema.Field(at[0]).Type))
				}
			}
			p.find(f)
		}
	}
	const hint = "the next upsert of the partition gives it the table's columns; so does ALTER TABLE ... CASCADE"
	if len(lacks) > 0 {
		p.find(Finding{Severity: SeverityNote, Kind: FoundDrift, Count: int64(len(lacks)), Samples: lacks[:min(len(lacks), sampled)],
			Message: plural(int64(len(lacks)), "column", "columns") + " of the table that the metastore does not have for this partition: Hive shows NULL there, whatever its files hold",
			Hint:    hint})
	}
	if len(moved) > 0 {
		p.find(Finding{Severity: SeverityWarning, Kind: FoundDrift, Count: int64(len(moved)), Samples: moved[:min(len(moved), sampled)],
			Message: plural(int64(len(moved)), "column", "columns") + " that the metastore has in another place for this partition than for the table: Hive goes by places there, and shows one column as another",
			Hint:    hint})
	}
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
		f := Finding{Severity: SeverityWarning, Kind: FoundUnregistered, Partition: leaf.path, Count: int64(len(files)),
			Message: fmt.Sprintf("%s of a partition that the metastore does not have: readers do not see them", plural(int64(len(files)), "file", "files")),
			Hint:    fmt.Sprintf("hupsert check %s --repair %s registers it; if nobody needs it, remove the folder", ShellQuote(c.url), ShellQuote(asSpec(leaf.path)))}
		old, err := c.versionIn(ctx, leaf.spec, dir)
		if err != nil {
			return err
		}
		if old != nil {
			f.Severity, f.Run = SeverityNote, old.Run
			f.Message = fmt.Sprintf("%s of version %s of a partition that %s: readers do not see them", plural(int64(len(files)), "file", "files"), old.Run, old.gone)
			f.Hint = old.remedy(c.url)
		}
		c.find(f)
	}
	return nil
}

// pastVersion is a version of a partition that is not registered any more.
type pastVersion struct {
	Partition string
	Run       string
	last      string // what readers would see had nobody else dropped the partition; "": it was removed by a run
	gone      string // why it is not registered
}

// remedy says how the partition comes back.
func (v *pastVersion) remedy(url string) string {
	if v.last == "" {
		return fmt.Sprintf("hupsert rollback %s --partition %s brings the partition back as it was last; hupsert history lists the versions", ShellQuote(url), ShellQuote(asSpec(v.Partition)))
	}
	return fmt.Sprintf("hupsert rollback %s --partition %s --to %s --force brings the partition back as it was last; hupsert history lists the versions", ShellQuote(url), ShellQuote(asSpec(v.Partition)), v.last)
}

// versionIn finds the version of a partition that is not registered whose folder this is; nil: it is none.
func (c *checker) versionIn(ctx context.Context, spec Spec, folder string) (*pastVersion, error) {
	partitions, err := c.store.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	want, err := canonicalSpec(c.layout.columns, spec)
	if err != nil {
		return nil, nil //nolint:nilerr // what is no value of the column has no history
	}
	for _, p := range partitions {
		if is, err := ParsePath(p); err != nil {
			continue
		} else if is, err = canonicalSpec(c.layout.columns, is); err != nil || is.Path() != want.Path() {
			continue
		}
		versions, err := c.store.History(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, v := range versions {
			if v.Path != folder || v.Live { // a table that was published by its path is all live versions
				continue
			}
			old := &pastVersion{Partition: p, Run: v.Run}
			if last := versions[len(versions)-1]; last.Absent {
				old.gone = "run " + last.Run + " has removed"
			} else {
				old.last, old.gone = last.Run, "somebody else has dropped"
			}
			return old, nil
		}
	}
	return nil, nil
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
	list := make([]swap.Pointer, len(c.options.Repair))
	for i, text := range c.options.Repair {
		if list[i], err = c.repairOf(ctx, text); err != nil {
			return locate(err, text, StepCheck)
		}
		if slices.Contains(c.report.Repaired, list[i].Partition) {
			return fault(ErrUsage, "repair: %s stands twice", text).hint("name each partition once")
		}
		c.report.Repaired = append(c.report.Repaired, list[i].Partition)
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
	if err := run.Lease(ctx, c.report.Repaired); err != nil {
		return swapError(err)
	}
	if _, err := c.store.Recover(ctx, c.report.Repaired); err != nil {
		return swapError(err)
	}
	for i := range list {
		if err := c.measure(ctx, &list[i]); err != nil {
			return locate(err, list[i].Partition, StepCheck)
		}
	}
	if err := c.catalog.Point(ctx, list); err != nil {
		return swapError(err)
	}
	c.layout, err = c.listLayout(ctx, c.layout.columns)
	return err
}

// repairOf settles which partition is meant, and where it is or will be.
func (c *checker) repairOf(ctx context.Context, text string) (swap.Pointer, error) {
	var spec Spec
	var err error
	if text != "" || len(c.layout.columns) > 0 {
		if spec, err = ParseSpec(text); err == nil {
			spec, err = canonicalSpec(c.layout.columns, spec)
		}
	}
	if err == nil && len(spec) < len(c.layout.columns) {
		err = fault(ErrUsage, "repair: name one partition, by all of its columns (%s)", columnNames(c.layout.columns)).hint("hupsert check lists those that need it")
	}
	if err != nil {
		return swap.Pointer{}, err
	}
	name, registered, err := c.layout.find(spec)
	if err != nil {
		return swap.Pointer{}, err
	}
	p := swap.Pointer{Partition: name, Folder: path.Join(c.root, name)}
	if registered || name == "" {
		if err := c.publishable(ctx, c.layout, []string{name}); err != nil {
			return p, err
		}
		p.Folder = c.layout.dir(c.root, name)
		p.Was = p.Folder
		return p, nil
	}
	found, ok, err := c.folderOf(ctx, spec)
	if ok {
		p.Partition, p.Folder = found, path.Join(c.root, found)
	}
	if err == nil && ok {
		err = c.refuseVersion(ctx, spec, p.Folder)
	}
	for other, dir := range c.layout.registered.folders {
		if err == nil && (inside(dir, p.Folder) || inside(p.Folder, dir)) {
			err = fault(ErrLayout, "its folder %s is that of %s", p.Folder, other).hint("give one of them a folder of its own")
		}
	}
	return p, err
}

// refuseVersion refuses to register the folder of an earlier version: rows that were changed or removed since would be back.
func (c *checker) refuseVersion(ctx context.Context, spec Spec, folder string) error {
	old, err := c.versionIn(ctx, spec, folder)
	if err != nil || old == nil {
		return err
	}
	return fault(ErrConflict, "its folder %s is that of version %s, and %s the partition since", folder, old.Run, old.gone).hint("%s", old.remedy(c.url))
}

// measure looks at what a partition's folder holds, and which version of ours it is.
func (c *checker) measure(ctx context.Context, p *swap.Pointer) error {
	inputs, err := c.store.Inputs(ctx, p.Partition)
	if err != nil {
		return swapError(err)
	}
	if inputs.Folder != p.Was {
		return fault(ErrConflict, "the metastore has it at %q now", inputs.Folder).hint("run again")
	}
	versions, err := c.store.History(ctx, p.Partition)
	if err != nil {
		return err
	}
	if n := len(versions); n > 0 && versions[n-1].Path == p.Folder {
		p.Run, p.Version = versions[n-1].Run, versions[n-1].Number
	}
	info, err := c.describeFolder(ctx, p.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return fault(ErrNotFound, "there is no folder %s", p.Folder).hint("put it back, or drop the partition in the metastore")
	}
	p.Rows, p.Bytes, p.Files = info.Rows, info.Bytes, len(info.Files)
	return err
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
