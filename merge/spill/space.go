package spill

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"
)

// File is what a space needs of a file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// ErrDamaged is for a block that does not read as it was written.
var ErrDamaged = errors.New("what was spilled to the disk has changed there")

// Space holds blocks on disk. Any goroutine may use it. The zero value can't be used.
type Space struct {
	open func() (File, error)
	once sync.Once
	file File
	err  error
	end  atomic.Int64
}

// New makes a space. Its file is opened with the first block; it should have no name, so that nothing of
// it is left whatever happens.
func New(open func() (File, error)) *Space { return &Space{open: open} }

// Bytes is how much was written.
func (s *Space) Bytes() int64 { return s.end.Load() }

// Close gives the disk back. Nothing can be read afterwards.
func (s *Space) Close() error {
	s.once.Do(func() { s.err = errors.New("the space is closed") })
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Block is a run of bytes in a space.
type Block struct {
	at  int64
	len int64
	crc uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// Append stores bytes.
func (s *Space) Append(p []byte) (Block, error) {
	s.once.Do(func() { s.file, s.err = s.open() })
	if s.err != nil {
		return Block{}, s.err
	}
	b := Block{len: int64(len(p)), crc: checksum(p)}
	full := (b.len + 7) &^ 7
	b.at = s.end.Add(full) - full
	_, err := s.file.WriteAt(p, b.at)
	return b, err
}

// Read gives the bytes of a block, in dst where they fit.
func (s *Space) Read(b Block, dst []byte) ([]byte, error) {
	if int64(cap(dst)) < b.len {
		dst = make([]byte, b.len)
	}
	dst = dst[:b.len]
	if _, err := s.file.ReadAt(dst, b.at); err != nil && b.len > 0 {
		return nil, fmt.Errorf("read what was spilled: %w", err)
	}
	if checksum(dst) != b.crc {
		return nil, ErrDamaged
	}
	return dst, nil
}

// blockBytes is the size of a block's place as a directory has it.
const blockBytes = 24

func (b Block) put(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(b.at))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(b.len))
	return binary.LittleEndian.AppendUint64(dst, uint64(b.crc))
}

func getBlock(p []byte) Block {
	return Block{
		at:  int64(binary.LittleEndian.Uint64(p)),
		len: int64(binary.LittleEndian.Uint64(p[8:])),
		crc: uint32(binary.LittleEndian.Uint64(p[16:])),
	}
}
