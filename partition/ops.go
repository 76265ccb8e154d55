package partition

import (
	"context"
	"errors"

	"github.com/apache/arrow/go/v17/arrow"
)

// Table is an open table.
type Table struct{ cfg Config }

// Open opens the table at a path or URL. The table need not exist yet: [Options.Create] makes it.
func Open(ctx context.Context, url string, cfg Config) (*Table, error) {
	return &Table{cfg: cfg}, ctx.Err()
}

// URL is the table's place, as reports name it.
func (t *Table) URL() string { return "" }

// Upsert merges a source into the table and publishes what changed.
func (t *Table) Upsert(ctx context.Context, src Source, o Options) (*Report, error) {
	return nil, errors.ErrUnsupported
}

// Plan is what Upsert would do; it writes nothing.
func (t *Table) Plan(ctx context.Context, src Source, o Options) (*Report, error) {
	return nil, errors.ErrUnsupported
}

// Show describes the table.
func (t *Table) Show(ctx context.Context, o ShowOptions) (*Description, error) {
	return nil, errors.ErrUnsupported
}

// History lists versions, of one partition or ("") of all, the newest first.
func (t *Table) History(ctx context.Context, spec string) ([]Version, error) {
	return nil, errors.ErrUnsupported
}

// Rollback puts earlier versions back; the report has mode "rollback".
func (t *Table) Rollback(ctx context.Context, o RollbackOptions) (*Report, error) {
	return nil, errors.ErrUnsupported
}

// Recover finishes or undoes what interrupted runs left.
func (t *Table) Recover(ctx context.Context) (*Recovery, error) { return nil, errors.ErrUnsupported }

// Vacuum removes old versions and abandoned staging.
func (t *Table) Vacuum(ctx context.Context, o VacuumOptions) (*Vacuumed, error) {
	return nil, errors.ErrUnsupported
}

func (t *Table) configBytes(ctx context.Context) ([]byte, error)      { return nil, errors.ErrUnsupported }
func (t *Table) writeConfig(ctx context.Context, c TableConfig) error { return errors.ErrUnsupported }
func foldIndices(s *arrow.Schema, name string) []int                  { return nil }
