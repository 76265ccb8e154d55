package partition

import (
	"context"
)

// ready checks that the table takes partitions that were made before: publish and rollback do not look at it as a
// merge does, and it may have changed since. Their paths are below the table.
func (t *Table) ready(ctx context.Context, c TableConfig, paths []string) error {
	declared, err := ParseColumns(c.PartitionBy)
	if err != nil {
		return err
	}
	l, err := t.listNames(ctx, declared)
	if err != nil || !l.exists {
		return err
	}
	for _, p := range paths {
		if err := l.takes(p); err != nil {
			return locate(err, p, StepPublish)
		}
	}
	return nil
}

// takes checks that a folder can be a partition of the table, beside those that it has, and that nobody is writing there.
func (l *layout) takes(partition string) error {
	if partition != "" || len(l.columns) > 0 {
		spec, err := ParsePath(partition)
		if err == nil {
			spec, err = canonicalSpec(l.columns, spec)
		}
		if err != nil || len(l.leaves) > 0 && len(spec) != len(l.columns) {
			return fault(ErrConflict, "the table has other partition columns now").hint("hupsert show lists its partitions; move what does not belong there away")
		}
		at, exists, err := l.find(spec)
		if err != nil {
			return err
		}
		if exists && at != partition {
			return fault(ErrConflict, "%s is the same partition, and was made since", at).of(at).hint("move that folder out of the table, or merge into it")
		}
	}
	return l.unwritten(partition, "wait until it is done; if it never ends, remove that folder")
}

// unwritten is an error where another system is writing to a partition.
func (l *layout) unwritten(partition, hint string) error {
	if busy := l.writing(partition); busy != "" {
		return fault(ErrConflict, "found %s: another system is writing to the table, or was interrupted", busy).of(busy).hint("%s", hint)
	}
	return nil
}
