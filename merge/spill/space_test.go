package spill

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

func TestSpace(t *testing.T) {
	opened := 0
	f := &memFile{}
	s := New(func() (File, error) { opened++; return f, nil })
	if s.Bytes() != 0 || opened != 0 {
		t.Errorf("%d bytes, opened %d times, before the first block", s.Bytes(), opened)
	}
	var blocks []Block
	for n := range 20 {
		b, err := s.Append(bytes.Repeat([]byte{byte(n + 1)}, n))
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, b)
	}
	var buf []byte
	for n := range 20 {
		got, err := s.Read(getBlock(blocks[n].put(nil)), buf)
		if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(n + 1)}, n)) {
			t.Errorf("block %d: %v, %v", n, got, err)
		}
		buf = got
	}
	if opened != 1 || s.Bytes() != int64(len(f.p)+7)&^7 {
		t.Errorf("opened %d times, %d bytes of %d", opened, s.Bytes(), len(f.p))
	}
	if err := s.Close(); err != nil || f.closed != 1 {
		t.Errorf("%v, closed %d times", err, f.closed)
	}
}

// TestSpaceThatIsNotUsed makes no file, and none after it was closed.
func TestSpaceThatIsNotUsed(t *testing.T) {
	s := New(func() (File, error) {
		t.Error("opened")
		return nil, io.EOF
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Append(nil); err == nil {
		t.Error("a closed space takes a block")
	}
}

// TestSpaceWithoutAFile says for every block why there is none.
func TestSpaceWithoutAFile(t *testing.T) {
	s := New(func() (File, error) { return nil, syscall.EACCES })
	for range 2 {
		if _, err := s.Append([]byte{1}); !errors.Is(err, syscall.EACCES) {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestDamage flips every byte of a file in turn: what is read is an error, or what was written where the
// byte was only filling.
func TestDamage(t *testing.T) {
	ctx := context.Background()
	for _, arr := range samples(t) {
		f := &memFile{}
		space := newSpace(f)
		kept, err := Gather(arr, nil)
		if err != nil {
			t.Fatal(err)
		}
		schema := Schema(arrow.NewSchema([]arrow.Field{{Name: "a", Type: arr.DataType()}, {Name: "b", Type: i32}}, nil))
		other := int32Array(count(kept.Len()))
		rows, err := space.Write(schema, []arrow.Array{kept, other}, kept.Len())
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for at := range f.p {
			f.p[at] ^= 0x40
			for c, want := range []arrow.Array{kept, other} {
				switch got, err := rows.Read(ctx, c, nil); {
				case errors.Is(err, ErrDamaged):
					found++
				case err != nil:
					t.Errorf("%s, byte %d: %v", arr.DataType(), at, err)
				case !array.Equal(got, want):
					t.Errorf("%s, byte %d: another value", arr.DataType(), at)
				}
			}
			f.p[at] ^= 0x40
		}
		if found < len(f.p) {
			t.Errorf("%s: %d of %d flips were found", arr.DataType(), found, len(f.p))
		}
		for n := range f.p { // cut off
			whole := f.p
			f.p = f.p[:n]
			if _, err := rows.Read(ctx, 1, nil); !errors.Is(err, io.EOF) && !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %d bytes: %v", arr.DataType(), n, err)
			}
			f.p = whole
		}
	}
}

// TestReaderOfAnything: bytes that appendArray did not write end in an error or an array, if they get past
// the checksum, never in a panic.
func TestReaderOfAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, arr := range samples(t) {
		kept, err := Gather(arr, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := appendArray(nil, kept.Data())
		for range 300 {
			q := slices.Clone(p[:r.IntN(len(p)+1)])
			in := arrayReader{q}
			if data, err := in.read(kept.DataType(), kept.Len()); err == nil {
				data.Release()
			} else if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %v", arr.DataType(), err)
			}
		}
	}
}

// TestErrorsOfTheFile come through.
func TestErrorsOfTheFile(t *testing.T) {
	f := &memFile{full: syscall.ENOSPC, room: 100}
	space := newSpace(f)
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: i32}}, nil)
	rows, err := space.Write(schema, []arrow.Array{int32Array([]int32{1, 2})}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := space.Write(schema, []arrow.Array{int32Array(make([]int32, 100))}, 100); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	if _, err := space.Append(make([]byte, 200)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	if got, err := rows.Read(context.Background(), 0, nil); err != nil || got.Len() != 2 {
		t.Errorf("what was written before is gone: %v", err)
	}
	f.read = syscall.EIO
	if _, err := rows.Read(context.Background(), 0, nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
}

// TestManyAtOnce writes and reads rows from several goroutines.
func TestManyAtOnce(t *testing.T) {
	ctx := context.Background()
	space := newSpace(&memFile{})
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: i32}, {Name: "s", Type: utf8, Nullable: true}}, nil)
	scattered := NewScatter(space, twoColumns, []bool{true, false, true}, 500, 64, 1000)
	scatter(t, scattered, rand.New(rand.NewPCG(5, 6)), 500)
	pieces, err := scattered.Pieces()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			for range 100 {
				numbers := make([]int32, r.IntN(50))
				for i := range numbers {
					numbers[i] = r.Int32()
				}
				rows, err := space.Write(schema, []arrow.Array{int32Array(numbers), texts(numbers)}, len(numbers))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := rows.Read(ctx, 1, nil)
				if err != nil || !array.Equal(got, texts(numbers)) {
					t.Errorf("%v, %v", got, err)
				}
				piece := r.IntN(len(pieces))
				if got, err := pieces[piece].Read(ctx, 0, nil); err != nil || got.(*array.Int32).Value(3) != int32(piece*64+3) {
					t.Errorf("piece %d: %v, %v", piece, got, err)
				}
			}
		})
	}
	wg.Wait()
	if err := space.Close(); err != nil {
		t.Error(err)
	}
}
