package splice

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

func tryRead(f *File) (all *column.Column, err error) {
	leaf := f.schema.Leaves[0]
	all = &column.Column{}
	all.Reset(leaf)
	page := column.Column{}
	r := f.Pages(0, 0, nil)
	defer r.Close()
	for {
		if _, _, err := r.Next(context.Background(), &page); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all.Append(leaf, &page, 0, page.Slots)
		all.Plain()
	}
}

func tryPatch(f *File, fresh *column.Column, list []change, rows int) ([]byte, error) {
	ctx := context.Background()
	p, _, err := f.Patch(0, 0)
	if p == nil || err != nil {
		return nil, err
	}
	pages := p.Pages()
	edits := make([][]PageEdit, len(pages))
	for _, c := range list {
		i, found := slices.BinarySearchFunc(pages, int64(c.row), func(g StoredPage, row int64) int { return cmp.Compare(g.FirstRow, row) })
		if !found {
			i--
		}
		edits[i] = append(edits[i], PageEdit{Row: int32(int64(c.row) - pages[i].FirstRow), Slot: int32(c.slot)})
	}
	if err := p.Enter(ctx, fresh, edits); err != nil {
		return nil, err
	}
	out := &memoryOutput{}
	w, err := NewWriter(out, WriterOptions{Template: f})
	if err != nil {
		return nil, err
	}
	if err := w.BeginRowGroup(int64(rows)); err != nil {
		return nil, err
	}
	pw, err := w.OpenPatch(p)
	if err != nil {
		return nil, err
	}
	var unit []int
	for i := range edits {
		if len(edits[i]) > 0 {
			unit = append(unit, i)
		}
	}
	got, err := p.Patched(ctx, unit)
	if err != nil {
		return nil, err
	}
	if err := pw.Patched(got); err != nil {
		return nil, err
	}
	if err := pw.Close(); err != nil {
		return nil, err
	}
	if err := w.EndRowGroup(); err != nil {
		return nil, err
	}
	_, err = w.Close()
	return out.Bytes(), err
}

func sameSlots(leaf *column.Leaf, a, b *column.Column) bool {
	if a.Slots != b.Slots {
		return false
	}
	for i := range a.Slots {
		if !column.Equal(a, i, b, i, nil) {
			return false
		}
	}
	return true
}

// Of a damaged chunk that is read, what is patched is what was read with the edits.
func TestPatchOfDamage(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	until := time.Now().Add(12 * time.Second)
	read, done, refused, differ := 0, 0, map[string]int{}, 0
	for round := uint64(0); time.Now().Before(until); round++ {
		for _, c := range sampleCases(seed+round, 1) {
			field := sampleNode(c.sampleType, c.shape)
			schema := newSchema(field)
			leaf := schema.Leaves[0]
			if !leaf.Flat() || time.Now().After(until) {
				continue
			}
			if c.o.PageVersion == 2 {
				c.o.PlainDictionary = false
			}
			if c.o.Codec == format.Lz4Raw || c.IntN(2) == 0 {
				c.o.Codec = format.Uncompressed
			}
			c.o.CRC = false
			data := writeChunks(t, WriterOptions{Schema: schema, NoPageIndex: c.IntN(2) == 0}, encode(t, leaf, c.o, c.Rand, c.sampler.column(c.sampleType, field, min(c.rows, 400))))
			f, err := openFile(data, "whole")
			if err != nil {
				t.Fatal(err)
			}
			ch := f.groups[0].Columns[0]
			for range 40 {
				bad := bytes.Clone(data)
				for range 1 + c.IntN(2) {
					at := ch.Offset + c.Int64N(ch.CompressedSize)
					if c.IntN(3) > 0 {
						at = ch.Offset + c.Int64N(min(ch.CompressedSize, 60))
					}
					bad[at] ^= byte(1 << c.IntN(8))
				}
				f, err := openFile(bad, "bad")
				if err != nil {
					continue
				}
				now, readErr := tryRead(f)
				if readErr == nil {
					read++
				} else {
					now = c.sampler.column(c.sampleType, field, min(c.rows, 400))
				}
				fresh := sampler{c.Rand, 30, 0.2}.column(c.sampleType, field, 20)
				list, want := changes(c.Rand, leaf, now, fresh, c.IntN(2) == 0)
				if want.Slots == 0 {
					continue
				}
				next, err := tryPatch(f, fresh, list, want.Slots)
				if readErr != nil {
					continue
				}
				if err != nil && !errors.Is(err, ErrUnpatched) {
					refused[err.Error()[:min(len(err.Error()), 400)]]++
					continue
				}
				if next == nil {
					continue
				}
				g, err := openFile(next, "next")
				if err != nil {
					t.Fatal(err)
				}
				got, err := tryRead(g)
				if err != nil || !sameSlots(leaf, got, want) {
					differ++
					t.Errorf("%s: differs: %v", c.String(), err)
					if differ > 5 {
						t.FailNow()
					}
					continue
				}
				done++
			}
		}
	}
	t.Logf("%d read, %d patched, %d refused", read, done, len(refused))
	n := 0
	for e, k := range refused {
		if n++; n > 8 {
			break
		}
		t.Log(k, e)
	}
}
