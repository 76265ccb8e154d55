package enginetest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the table of docs/compatibility.md anew")

// The marks between which docs/compatibility.md has the table.
const (
	corpusBegin = "<!-- corpus: written by go test ./internal/enginetest -run TestCorpus -rewrite -->\n"
	corpusEnd   = "<!-- corpus: end -->\n"
)

// corpusFile is what became of one file.
type corpusFile struct {
	File, About, Old, Source  string
	Engines, Refusals, Faults []string
}

// TestCorpus merges every file of the parquet-testing corpus, as an old partition and as a source: what comes out is what
// other engines read before, with the change; or the file is refused by name, and the table is as it was. The table of
// outcomes in docs/compatibility.md must say the same.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other engines")
	}
	python(t)
	corpus := engine(t, "HUPSERT_PARQUET_TESTING", "the parquet-testing corpus")
	out, err := script(t, "engines/corpus.py", binary(t), corpus, folder(t))
	if err != nil {
		t.Fatal(err)
	}
	var files []corpusFile
	var faults []string
	for line := range strings.Lines(out) {
		var f corpusFile
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if f.About == "" {
			faults = append(faults, f.File+": corpus.py does not say what is special in it")
		}
		files, faults = append(files, f), append(faults, f.Faults...)
	}
	if len(files) == 0 {
		t.Fatalf("no files below %s", corpus)
	}
	report(t, faults)
	compareDocs(t, corpusTable(files))
}

// corpusTable is the table of outcomes.
func corpusTable(files []corpusFile) string {
	var b strings.Builder
	b.WriteString("| file | what is special | as old partition | as source | compared by | why refused |\n|---|---|---|---|---|---|\n")
	for _, f := range files {
		by := strings.Join(f.Engines, ", ")
		if by == "" && f.Old == "refused" && f.Source == "refused" {
			by = "-"
		}
		why := strings.ReplaceAll(strings.Join(f.Refusals, "; "), "|", `\|`)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", strings.TrimPrefix(f.File, "data/"), f.About, f.Old, f.Source, by, why)
	}
	return b.String()
}

func compareDocs(t *testing.T, table string) {
	t.Helper()
	name := filepath.Join("..", "..", "docs", "compatibility.md")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), corpusBegin)
	have, end, closed := strings.Cut(rest, corpusEnd)
	if !ok || !closed {
		t.Fatalf("%s has no table of the corpus", name)
	}
	switch {
	case have == table || t.Failed():
	case *rewrite:
		if err := os.WriteFile(name, []byte(head+corpusBegin+table+corpusEnd+end), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s tells other outcomes: go test ./internal/enginetest -run TestCorpus -rewrite\n%s", name, difference(have, table))
	}
}

// difference lists the lines that one of two texts lacks.
func difference(have, want string) string {
	var b strings.Builder
	for _, side := range []struct{ mark, text, other string }{{"- ", have, want}, {"+ ", want, have}} {
		for line := range strings.Lines(side.text) {
			if !strings.Contains(side.other, line) {
				b.WriteString(side.mark + line)
			}
		}
	}
	return b.String()
}
