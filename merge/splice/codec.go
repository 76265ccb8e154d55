package splice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	brotlireader "github.com/andybalholm/brotli"
	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// The most bytes that one compressed byte can stand for. A page that declares more is refused before
// memory is reserved for it; brotli, which has no such limit, is decoded into a buffer that grows.
const (
	maxSnappy = 32         // a copy of 64 bytes takes three
	maxGzip   = 1040       // two bits a copy of 258 bytes
	maxLZ4    = 256        // a length byte stands for 255
	maxZstd   = 128 << 10  // a block of one repeated byte, with room for frames
	slackSize = 1024       // for streams of a few bytes
	brotliMin = 1024 << 10 // first size of the growing buffer
)

// decompressor is a pooled reader of a stream format.
type decompressor[R io.Reader] struct {
	src    bytes.Reader
	stream R
}

var (
	gzipReaders = sync.Pool{New: func() any { return &decompressor[*gzip.Reader]{stream: new(gzip.Reader)} }}
	brotlis     = sync.Pool{New: func() any {
		return &decompressor[*brotlireader.Reader]{stream: brotlireader.NewReader(nil)}
	}}
	// zstdDecoder is shared: DecodeAll is safe for concurrent use and keeps a state per processor. It
	// never writes past the capacity it is given.
	zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
	})
)

// decompress decodes src into dst, whose length is of no meaning and whose memory is used again, and
// returns exactly size bytes.
func decompress(codec format.CompressionCodec, dst, src []byte, size int) (out []byte, err error) {
	defer guard(&err)
	if size == 0 && len(src) == 0 {
		return dst[:0], nil
	}
	limit := 0
	switch codec {
	case format.Uncompressed:
		if len(src) != size {
			return dst, corruptf("uncompressed page of %d bytes declares %d", len(src), size)
		}
		return append(dst[:0], src...), nil
	case format.Snappy:
		limit = maxSnappy
	case format.Gzip:
		limit = maxGzip
	case format.Lz4Raw, format.Lz4:
		limit = maxLZ4
	case format.Zstd:
		limit = maxZstd
	case format.Brotli:
		return decompressBrotli(dst, src, size)
	default:
		return dst, unsupportedf("codec %s", codecName(codec))
	}
	if size-slackSize > limit*len(src) {
		return dst, corruptf("%d bytes of %s cannot hold the %d that the page declares", len(src), codec, size)
	}
	dst = resize(dst, size)
	var n int
	switch codec {
	case format.Snappy:
		n, err = decompressSnappy(dst, src)
	case format.Gzip:
		n, err = decompressGzip(dst, src)
	case format.Zstd:
		n, err = decompressZstd(dst, src)
	case format.Lz4Raw:
		n, err = lz4.UncompressBlock(src, dst)
	default:
		n, err = decompressLegacyLZ4(dst, src)
	}
	if err != nil {
		return dst, corruptf("%s: %v", codec, err)
	}
	if n != size {
		return dst, corruptf("%s: %d bytes decoded, %d declared", codec, n, size)
	}
	return dst, nil
}

func codecName(codec format.CompressionCodec) string {
	if name := codec.String(); name != "CompressionCodec(?)" {
		return name
	}
	return "of unknown id"
}

// decompressSnappy is not S2's: that takes a copy from offset 0, which is damage, for one from the last offset.
func decompressSnappy(dst, src []byte) (int, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil || n != len(dst) {
		return n, err
	}
	out, err := snappy.Decode(dst, src)
	return len(out), err
}

func decompressZstd(dst, src []byte) (int, error) {
	decoder, err := zstdDecoder()
	if err != nil {
		return 0, err
	}
	if len(dst) == 0 {
		dst = make([]byte, 0, 1) // a capacity of zero would not limit
	}
	out, err := decoder.DecodeAll(src, dst[:0:max(len(dst), 1)])
	return len(out), err
}

// decompressGzip reads a stream of one or more members.
func decompressGzip(dst, src []byte) (int, error) {
	d := gzipReaders.Get().(*decompressor[*gzip.Reader])
	defer gzipReaders.Put(d)
	d.src.Reset(src)
	if err := d.stream.Reset(&d.src); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(d.stream, dst)
	if err != nil {
		return n, err
	}
	return n, atEnd(d.stream)
}

// atEnd reads the end of a stream, where checksums are verified.
func atEnd(r io.Reader) error {
	var rest [1]byte
	for {
		n, err := r.Read(rest[:])
		if n > 0 {
			return corruptf("more bytes than the page declares")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func decompressBrotli(dst, src []byte, size int) ([]byte, error) {
	d := brotlis.Get().(*decompressor[*brotlireader.Reader])
	defer brotlis.Put(d)
	d.src.Reset(src)
	if err := d.stream.Reset(&d.src); err != nil {
		return dst, err
	}
	dst = dst[:0]
	for len(dst) < size {
		if len(dst) == cap(dst) {
			grown := make([]byte, len(dst), min(size, max(2*cap(dst), brotliMin)))
			copy(grown, dst)
			dst = grown
		}
		n, err := d.stream.Read(dst[len(dst):min(size, cap(dst))])
		dst = dst[:len(dst)+n]
		if err != nil && (!errors.Is(err, io.EOF) || len(dst) < size) {
			return dst, corruptf("BROTLI: %d of %d bytes: %v", len(dst), size, err)
		}
	}
	if err := atEnd(d.stream); err != nil {
		return dst, corruptf("BROTLI: %v", err)
	}
	return dst, nil
}

// decompressLegacyLZ4 reads the deprecated codec LZ4 in the framings that writers have used for it:
// Hadoop's blocks, LZ4 frames, and one raw block.
func decompressLegacyLZ4(dst, src []byte) (int, error) {
	if n, ok := decompressHadoopLZ4(dst, src); ok {
		return n, nil
	}
	if len(src) >= 4 && binary.LittleEndian.Uint32(src) == 0x184D2204 {
		r := lz4.NewReader(bytes.NewReader(src))
		n, err := io.ReadFull(r, dst)
		if err != nil {
			return n, err
		}
		return n, atEnd(r)
	}
	return lz4.UncompressBlock(src, dst)
}

// decompressHadoopLZ4 reads blocks behind their lengths, decoded and encoded, both big-endian.
func decompressHadoopLZ4(dst, src []byte) (int, bool) {
	done := 0
	for len(src) > 0 {
		if len(src) < 8 {
			return 0, false
		}
		plain, packed := uint64(binary.BigEndian.Uint32(src)), uint64(binary.BigEndian.Uint32(src[4:]))
		src = src[8:]
		if plain > uint64(len(dst)-done) || packed > uint64(len(src)) {
			return 0, false
		}
		n, err := lz4.UncompressBlock(src[:packed], dst[done:done+int(plain)])
		if err != nil || uint64(n) != plain {
			return 0, false
		}
		done, src = done+n, src[packed:]
	}
	return done, true
}

// resize returns a slice of a length in the memory of s where it suffices; its contents are
// undefined.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/8)
	}
	return s[:n]
}
