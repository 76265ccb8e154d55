// Package docs checks that what ARCHITECTURE.md names is there.
package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

var (
	quoted  = regexp.MustCompile("`([^`]+)`")
	symbol  = regexp.MustCompile(`^([A-Za-z]+)\.([A-Z][A-Za-z]*)$`)
	folders = regexp.MustCompile(`^(cmd|partition|merge|storage|internal|testdata)(/|$)`)
)

// packages are the folders that a qualifier in the text stands for; a type's name stands for its package.
var packages = map[string]string{
	"partition": "partition", "merge": "merge", "source": "merge/source", "shred": "merge/shred", "splice": "merge/splice",
	"column": "merge/column", "metastore": "partition/metastore", "storage": "storage", "stage": "storage/stage", "swap": "storage/swap",
	"Table": "partition", "Prepared": "merge", "EncodedChunk": "merge/splice",
}

func TestArchitectureIsTrue(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n >= 250 {
		t.Errorf("ARCHITECTURE.md has %d lines, 250 are the limit", n)
	}
	checked := 0
	for _, m := range quoted.FindAllStringSubmatch(string(data), -1) {
		name := m[1]
		switch {
		case folders.MatchString(name):
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s is not there", name)
			}
		case symbol.MatchString(name):
			s := symbol.FindStringSubmatch(name)
			dir, ok := packages[s[1]]
			if !ok {
				t.Errorf("%s: no package is known by %s", name, s[1])
				continue
			}
			if !declares(t, dir, s[2]) {
				t.Errorf("%s declares no %s", dir, s[2])
			}
		default:
			continue
		}
		checked++
	}
	if checked < 30 {
		t.Errorf("%d names were checked: the text names too little, or this test looks wrongly", checked)
	}
}

// declares reports whether a package has a type, function, method, variable or constant of a name.
func declares(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s has no Go files", dir)
		return false
	}
	decl := regexp.MustCompile(`(?m)^(type|func|var|const|\t)\s*(\([^)]*\)\s*)?` + name + `\b`)
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if decl.Match(data) {
			return true
		}
	}
	return false
}

// TestNoReplace: a go.mod with replace directives can't be installed or imported as it is.
func TestNoReplace(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), `"Replace": [`) {
		t.Error("go.mod has replace directives")
	}
}
