package schedulertest

import (
	"debug/elf"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/bmatcuk/doublestar/v4"
)

// instruction is one of a Dockerfile, with its continued lines in one.
type instruction struct{ name, arguments string }

func dockerfile(t *testing.T) (found []instruction) {
	t.Helper()
	text := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(readFile(t, root+"/Dockerfile"), "")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, arguments, _ := strings.Cut(line, " ")
		found = append(found, instruction{name, strings.TrimSpace(arguments)})
	}
	return found
}

// buildLine returns the words of the RUN that builds.
func buildLine(t *testing.T) string {
	t.Helper()
	for _, i := range dockerfile(t) {
		if i.name == "RUN" && strings.Contains(i.arguments, "go build") {
			return i.arguments
		}
	}
	t.Fatal("the Dockerfile has no go build")
	return ""
}

// TestImageIsBuiltAsTheMakefileDoes holds the Dockerfile's build line against that of `make build`.
func TestImageIsBuiltAsTheMakefileDoes(t *testing.T) {
	m := regexp.MustCompile(`(?m)^build:.*\n\t(.*)$`).FindStringSubmatch(readFile(t, root+"/Makefile"))
	if m == nil {
		t.Fatal("the Makefile has no build")
	}
	want := strings.NewReplacer("$(GO)", "go", "$(VERSION)", "$VERSION", "'", `"`).Replace(m[1])
	if got := buildLine(t); got != want {
		t.Errorf("the Dockerfile builds by\n%s\nthe Makefile by\n%s", got, want)
	}
}

// TestImageHasStaticBinary carries the build out on what .dockerignore lets in: it suffices, and what comes out needs no libraries, says its
// version, and merges.
func TestImageHasStaticBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command")
	}
	context := t.TempDir()
	copyContext(t, context)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", buildLine(t))
	cmd.Dir, cmd.Env = context, append(os.Environ(), "VERSION=v0.0.0-image", "GOFLAGS=-mod=readonly", "GOWORK=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", buildLine(t), err, text)
	}
	name := filepath.Join(context, "bin", "hupsert")
	if runtime.GOOS == "linux" {
		checkStatic(t, name)
	}
	text, err := exec.CommandContext(t.Context(), name, "version", "--output", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ Version string }
	if err := json.Unmarshal(text, &said); err != nil || said.Version != "v0.0.0-image" {
		t.Errorf("version: %s, %v", text, err)
	}
	// The image has no home, and no variables but PATH.
	demo := exec.CommandContext(t.Context(), name, "demo", filepath.Join(context, "demo"), "--quiet")
	demo.Env, demo.Dir = []string{"PATH=/usr/local/bin"}, "/"
	if text, err := demo.CombinedOutput(); err != nil {
		t.Errorf("demo: %v\n%s", err, text)
	}
}

func checkStatic(t *testing.T, name string) {
	t.Helper()
	file, err := elf.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary is linked dynamically: %v", p.ProgHeader)
		}
	}
}

// copyContext copies what `docker build` would send: the files that .dockerignore does not leave out.
func copyContext(t *testing.T, to string) {
	t.Helper()
	var rules []string
	for line := range strings.Lines(readFile(t, root+"/.dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			rules = append(rules, line)
		}
	}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == ".git" {
			return err
		}
		if d.IsDir() || ignored(t, rules, path) {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(to, filepath.Dir(path)), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, unneeded := range []string{".git", "docs", "testdata", "README.md", "internal/enginetest"} {
		if _, err := os.Stat(filepath.Join(to, unneeded)); err == nil {
			t.Errorf(".dockerignore lets %s in", unneeded)
		}
	}
}

// ignored: the last rule that a file, or a folder it is in, fits counts.
func ignored(t *testing.T, rules []string, path string) (out bool) {
	t.Helper()
	for _, rule := range rules {
		rule, in := strings.CutPrefix(rule, "!")
		for _, pattern := range []string{rule, rule + "/**"} {
			fits, err := doublestar.Match(pattern, path)
			if err != nil {
				t.Fatal(err)
			}
			if fits {
				out = !in
			}
		}
	}
	return out
}

// TestDockerfile looks for what linters of Dockerfiles look for, and for what the examples rest on.
func TestDockerfile(t *testing.T) {
	var last []instruction // of the last stage
	var bases []string
	for _, i := range dockerfile(t) {
		if i.name == "FROM" {
			last = nil
			bases = append(bases, i.arguments)
		}
		last = append(last, i)
	}
	golang := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(readFile(t, root+"/go.mod"))[1]
	base := regexp.MustCompile(`(?m)^ARG BASE=(\S+)$`).FindStringSubmatch(readFile(t, root+"/Dockerfile"))
	for what, ok := range map[string]bool{
		"builds with the Go of go.mod":       bases[0] == "golang:"+golang+"-bookworm AS build",
		"ends on a base that can be changed": len(bases) == 2 && bases[1] == "${BASE}",
		"is of distroless, without a shell":  base != nil && base[1] == "gcr.io/distroless/static-debian12:nonroot",
		"runs nothing in the last stage":     !slices.ContainsFunc(last, func(i instruction) bool { return i.name == "RUN" || i.name == "ADD" }),
		"copies from the build alone":        slices.Contains(last, instruction{"COPY", "--from=build /src/bin/hupsert /usr/local/bin/hupsert"}),
		"is nobody's root, by number":        slices.Contains(last, instruction{"USER", "65532:65532"}),
		"runs hupsert, without a shell":      last[len(last)-1] == instruction{"ENTRYPOINT", `["/usr/local/bin/hupsert"]`},
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
}
