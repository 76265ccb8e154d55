package merge

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// holdKeys finds for every key of the band the one row that holds it.
func (b *band) holdKeys(ctx context.Context, o *Options) error {
	// Of a source that is not sorted a band may be. Where there is one band, the source's order is its own.
	if b.source.sorted || len(b.source.bands) > 1 && b.ascending() {
		b.order.asTheyCame = true // and no key repeats
		b.measureRanges(o)
		return nil
	}
	var twice [][2]int // source rows of one key, neither of which is newer
	err := b.putKeys(ctx, func(held, row int) {
		switch b.newer(held, row, o) {
		case conflicting:
			twice = append(twice, [2]int{b.row(held), b.row(row)})
			*b.fate(row) = duplicate
		case later:
			b.index.replace(held, row)
			*b.fate(held) = duplicate
		case earlier:
			*b.fate(row) = duplicate
		}
	})
	if err != nil {
		return err
	}
	if err := b.source.refuseTwice(ctx, twice, o); err != nil {
		return err
	}
	b.sortHolders()
	b.measureRanges(o)
	return nil
}

// putKeys makes the band's index of its keys that are not NULL, and tells of each row whose key another one holds.
func (b *band) putKeys(ctx context.Context, repeats func(held, row int)) error {
	b.index = newIndex(&b.keys, b.n)
	for row := range b.n {
		if row&0xFFFF == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if *b.fate(row) == nullKey {
			continue
		}
		if held := b.index.put(row); held != row {
			repeats(held, row)
		}
	}
	return nil
}

type precedence uint8

const (
	conflicting precedence = iota
	earlier
	later
)

// newer says which of two rows of one key wins.
func (b *band) newer(held, row int, o *Options) precedence {
	if len(b.source.version) > 0 {
		// A tie goes to the later row.
		if bytes.Compare(b.versions.at(row), b.versions.at(held)) >= 0 {
			return later
		}
		return earlier
	}
	switch {
	case o.SourceDuplicates == PolicyLast:
		return later
	case o.SourceDuplicates == PolicyFirst, o.Mode == Delete: // what else the rows say does not matter to a delete
		return earlier
	}
	return conflicting
}

// refuseTwice stops where rows of one key are not copies of each other.
func (s *source) refuseTwice(ctx context.Context, twice [][2]int, o *Options) error {
	what := plural(len(twice), "source row repeats", "source rows repeat") + " a key"
	if !o.Unique {
		var err error
		if twice, err = s.unequal(ctx, twice); err != nil {
			return err
		}
		what = plural(len(twice), "source row repeats", "source rows repeat") + " a key with other values"
	}
	if len(twice) == 0 {
		return nil
	}
	sample := make([]string, 0, 3)
	for _, t := range twice[:min(3, len(twice))] {
		sample = append(sample, fmt.Sprintf("%s (%s and %s)", s.rows.keyText(t[0], s.keyTables()), s.rows.position(t[0]), s.rows.position(t[1])))
	}
	return &Error{Kind: ErrDuplicateKey, Column: strings.Join(o.Key, ","),
		Message: what + ": " + strings.Join(sample, "; "),
		Hint:    "name the version column with --order-by, or choose --source-duplicates first or last"}
}
