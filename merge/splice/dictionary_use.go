package splice

import (
	"context"
	"errors"
	"io"

	"github.com/hupsert/hupsert/merge/column"
)

// DictionaryUse counts the entries of a chunk's dictionary and those that some value uses; 0 and 0 where the chunk has none.
// It reads the chunk.
func (f *File) DictionaryUse(ctx context.Context, rg, col int) (entries, used int, err error) {
	if !f.groups[rg].Columns[col].HasDictionary {
		return 0, 0, nil
	}
	r := f.Pages(rg, col, nil)
	defer r.Close()
	dict, err := r.Dictionary()
	if err != nil || dict == nil {
		return 0, 0, err
	}
	entries = dict.Len()
	used, err = r.usedEntries(ctx, entries)
	return entries, used, err
}

// usedEntries counts the entries of the dictionary that the pages use.
func (p *PageReader) usedEntries(ctx context.Context, entries int) (n int, err error) {
	used := make([]bool, entries)
	var c column.Column
	for {
		_, _, err := p.Next(ctx, &c)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		for i := 0; i < c.Slots && c.Dict != nil; i++ {
			if !c.Null(i) && !used[c.Index[i]] {
				used[c.Index[i]] = true
				n++
			}
		}
	}
}

// Remade reports whether the file was made anew in parts from another one's: only then may its dictionaries hold what
// nothing uses.
func (f *File) Remade() bool {
	for _, kv := range f.KeyValue() {
		if kv.Key == versionKey {
			return true
		}
	}
	return false
}
