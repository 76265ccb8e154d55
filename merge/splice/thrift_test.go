package splice

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// corpus lists files of the parquet-testing corpus, which lies where HUPSERT_PARQUET_TESTING says;
// without it the test is skipped.
func corpus(t testing.TB, pattern string) []string {
	t.Helper()
	files := corpusIfThere(pattern)
	if len(files) == 0 {
		t.Skip("HUPSERT_PARQUET_TESTING names no folder with the corpus")
	}
	return files
}

func corpusIfThere(pattern string) []string {
	root := os.Getenv("HUPSERT_PARQUET_TESTING")
	if root == "" {
		return nil
	}
	files, _ := filepath.Glob(filepath.Join(root, pattern)) // the patterns are well-formed
	return files
}

func TestThriftRoundTripOfFooters(t *testing.T) {
	for _, name := range corpus(t, "data/*.parquet") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n := int(binary.LittleEndian.Uint32(data[len(data)-8:]))
		footer := data[len(data)-8-n : len(data)-8]
		v, used, err := parseThrift(footer)
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
			continue
		}
		if out := v.append(nil); !bytes.Equal(out, footer[:used]) {
			t.Errorf("%s: %d bytes of footer became %d others", filepath.Base(name), used, len(out))
		}
	}
}
