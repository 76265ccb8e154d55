package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage/local"
)

func TestMain(m *testing.M) {
	testscript.Main(served{m}, map[string]func(){"hupsert": main, "holding": holding})
}

// served are tests that may have asked for services, which end with them.
type served struct{ *testing.M }

func (s served) Run() int { return servicetest.Main(s.M) }

// holding is a program that runs another one while it holds a lock: holding FILE COMMAND...
func holding() {
	lock, err := local.FS{}.Lock(context.Background(), os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	_ = cmd.Run() // the exit code says it
	_ = lock.Unlock()
	os.Exit(cmd.ProcessState.ExitCode())
}

// TestScripts runs the scenarios of testdata/script against the real command. Beside testscript's own
// commands they use
//
//	exits CODE hupsert ...     the exit code, exactly
//	snapshot DIR               remembers every name, mode, time and byte below DIR
//	[!] unchanged DIR          compares with that
//	json PATH WANT             a field of the last standard output: partitions[0].rows.inserted,
//	                           partitions.len for a length; WANT may be "-" for "not there"
//	logged KEY...              each line of the last standard error is a JSON object with time, level, msg and KEYs
//	keep NAME PATH             puts a field of the last standard output into a variable
//	dump DIR FILE              the rows of all Parquet files below DIR, read by another library, sorted
//	clean TABLE                the folder holds partitions and Parquet only; nothing is staged beside it
//	files DIR N                how many Parquet files there are below DIR
//	empty DIR                  nothing is in the folder
//	csv FILE ROWS DAYS TEXT    a source of that many rows, in no order of their ids, for so many partitions
//	interrupted TABLE ARG...   SIGINT for an upsert that is reading standard input
//	killed TABLE ARG...        the same with SIGKILL
//	interrupts TABLE ARG...    SIGINT at growing delays, until one run gets through
//	kills TABLE ARG...         the same with SIGKILL, and recover after each
//	killsends TABLE RUN        SIGKILL for the publish of a staged run, in the same way: it is published or
//	                           still staged
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Values[snapshots{}] = map[string]string{}
			e.Setenv("HOME", e.WorkDir)
			examples, err := filepath.Abs("../../examples")
			e.Setenv("EXAMPLES", examples)
			return err
		},
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %s", name)
			}
			return os.Geteuid() == 0, nil // whom no permission stops
		},
		Cmds: scriptCommands,
	})
}

var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"exits": scriptExits, "snapshot": scriptSnapshot, "unchanged": scriptUnchanged, "json": scriptJSON,
	"keep": scriptKeep, "dump": scriptDump, "clean": scriptClean, "files": scriptFiles,
	"empty": scriptEmpty, "csv": scriptCSV, "logged": scriptLogged,
	"interrupted": scriptInterrupted, "interrupts": scriptInterrupts,
	"killed": scriptKilled, "kills": scriptKills, "killsends": scriptKillsEnds,
}

type snapshots struct{}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func scriptSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	ts.Value(snapshots{}).(map[string]string)[args[0]] = tree(ts, ts.MkAbs(args[0]))
}

func scriptUnchanged(ts *testscript.TestScript, neg bool, args []string) {
	was, ok := ts.Value(snapshots{}).(map[string]string)[args[0]]
	if !ok {
		ts.Fatalf("no snapshot of %s", args[0])
	}
	now := tree(ts, ts.MkAbs(args[0]))
	if (was == now) == neg {
		ts.Fatalf("%s was:\n%s\nis:\n%s", args[0], was, now)
	}
}

// tree lists everything below a folder, a line each, with what must not change.
func tree(ts *testscript.TestScript, dir string) string {
	var b strings.Builder
	ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%s %s %s", rel, info.Mode(), info.ModTime().Format(time.RFC3339Nano))
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(content))
		}
		fmt.Fprintln(&b)
		return nil
	}))
	return b.String()
}

func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH WANT")
	}
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		ts.Fatalf("standard output is not JSON: %v", err)
	}
	if d.More() {
		ts.Fatalf("more than one JSON value on standard output")
	}
	got := lookup(v, args[0])
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %s, want %s", args[0], got, args[1])
	}
}

func scriptKeep(ts *testscript.TestScript, neg bool, args []string) {
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("standard output is not JSON: %v", err)
	}
	got := lookup(v, args[1])
	if got == "-" {
		ts.Fatalf("there is no %s", args[1])
	}
	ts.Setenv(args[0], got)
}

func lookup(v any, path string) string {
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[name]
			if !ok {
				return "-"
			}
			v = next
		case []any:
			if name == "len" {
				return strconv.Itoa(len(at))
			}
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(at) {
				return "-"
			}
			v = at[i]
		default:
			return "-"
		}
	}
	return fmt.Sprint(v)
}

func scriptDump(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	var lines []string
	for _, file := range parquetFiles(ts, dir) {
		where, _ := filepath.Rel(dir, filepath.Dir(file))
		lines = append(lines, rowsOf(ts, file, where)...)
	}
	slices.Sort(lines)
	content := ""
	if len(lines) > 0 {
		content = strings.Join(lines, "\n") + "\n"
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(content), 0o644))
}

// rowsOf reads a file by parquet-go, which the writer under test has no part in: a row is "name=value"
// of its columns, with the folder in front.
func rowsOf(ts *testscript.TestScript, path, where string) (lines []string) {
	f, err := os.Open(path)
	ts.Check(err)
	defer f.Close()
	stat, err := f.Stat()
	ts.Check(err)
	pf, err := parquet.OpenFile(f, stat.Size())
	ts.Check(err)
	columns := pf.Schema().Columns()
	for _, group := range pf.RowGroups() {
		rows := group.Rows()
		buf := make([]parquet.Row, 100)
		for {
			n, err := rows.ReadRows(buf)
			for _, row := range buf[:n] {
				line := where
				for _, v := range row {
					line += fmt.Sprintf(" %s=%s", strings.Join(columns[v.Column()], "."), v)
				}
				lines = append(lines, line)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			ts.Check(err)
		}
		ts.Check(rows.Close())
	}
	return lines
}

func parquetFiles(ts *testscript.TestScript, dir string) (files []string) {
	ts.Check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".parquet") {
			files = append(files, path)
		}
		return err
	}))
	return files
}

func scriptLogged(ts *testscript.TestScript, neg bool, keys []string) {
	text := strings.TrimSuffix(ts.ReadFile("stderr"), "\n")
	if text == "" {
		ts.Fatalf("nothing is logged")
	}
	for _, line := range strings.Split(text, "\n") {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			ts.Fatalf("%v: %s", err, line)
		}
		if n := strings.Count(line, `"step":`); n > 1 {
			ts.Fatalf("step stands twice: %s", line)
		}
		for _, key := range append([]string{"time", "level", "msg"}, keys...) {
			if v, ok := o[key]; !ok || v == "" {
				ts.Fatalf("no %s: %s", key, line)
			}
		}
	}
}

func scriptFiles(ts *testscript.TestScript, neg bool, args []string) {
	if got := len(parquetFiles(ts, ts.MkAbs(args[0]))); strconv.Itoa(got) != args[1] {
		ts.Fatalf("%d Parquet files below %s, want %s", got, args[0], args[1])
	}
}

func scriptClean(ts *testscript.TestScript, neg bool, args []string) {
	if err := clean(ts.MkAbs(args[0])); err != nil {
		ts.Fatalf("%v", err)
	}
}

func clean(table string) error {
	err := filepath.WalkDir(table, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == table {
			return err
		}
		name := d.Name()
		if d.IsDir() && !strings.Contains(name, "=") || !d.IsDir() && !strings.HasSuffix(name, ".parquet") || name[0] == '.' {
			return fmt.Errorf("%s does not belong in a table", path)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // no table, no dirt
	}
	staging := filepath.Join(filepath.Dir(table), ".hupsert", filepath.Base(table), "staging")
	if left, _ := os.ReadDir(staging); len(left) > 0 {
		return errors.Join(err, fmt.Errorf("%s is left in %s", left[0].Name(), staging))
	}
	return err
}

func scriptEmpty(ts *testscript.TestScript, neg bool, args []string) {
	left, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if (len(left) == 0) == neg {
		ts.Fatalf("%d entries in %s: %v", len(left), args[0], left)
	}
}

func scriptCSV(ts *testscript.TestScript, neg bool, args []string) {
	rows, err1 := strconv.Atoi(args[1])
	days, err2 := strconv.Atoi(args[2])
	ts.Check(errors.Join(err1, err2))
	var b bytes.Buffer
	b.WriteString("id,name,qty,v,dt\n")
	for i := range rows {
		id := i * 7919 % rows
		fmt.Fprintf(&b, "%d,%s%d,%d,1,2026-11-%02d\n", id, args[3], id%100, id%7, id%days+1)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o644))
}

func scriptInterrupted(ts *testscript.TestScript, neg bool, args []string) {
	if got := ended(ts, args, syscall.SIGINT); got != 130 {
		ts.Fatalf("exit code %d, want 130", got)
	}
}

func scriptKilled(ts *testscript.TestScript, neg bool, args []string) {
	if got := ended(ts, args, syscall.SIGKILL); got != -1 {
		ts.Fatalf("exit code %d of a run that was killed", got)
	}
}

// ended sends a signal when the command has taken more than a pipe holds, so that it is for sure in the
// middle of its work, and not before its handler stands or after its end. It gives the exit code.
func ended(ts *testscript.TestScript, args []string, signal syscall.Signal) int {
	cmd := command(ts, "upsert", args...)
	in, err := cmd.StdinPipe()
	ts.Check(err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	ts.Check(cmd.Start())
	_, err = io.WriteString(in, "id,name,qty,v,dt\n")
	for i := 0; err == nil && i < 200_000; i++ {
		_, err = fmt.Fprintf(in, "%d,x,1,9,2026-11-20\n", i)
	}
	ts.Check(err)
	if at := slices.Index(args, "--temp-dir"); at >= 0 && runtime.GOOS == "linux" {
		waitForSpill(ts, cmd.Process.Pid, ts.MkAbs(args[at+1]))
	}
	ts.Check(cmd.Process.Signal(signal))
	_ = cmd.Wait()
	ts.Logf("%s", &stderr)
	return cmd.ProcessState.ExitCode()
}

// waitForSpill waits until the process has bytes in a file without a name in a folder.
func waitForSpill(ts *testscript.TestScript, pid int, dir string) {
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		list, err := os.ReadDir(fds)
		ts.Check(err)
		for _, fd := range list {
			name := filepath.Join(fds, fd.Name())
			to, _ := os.Readlink(name) // it may be closed by now
			if info, err := os.Stat(name); err == nil && strings.HasPrefix(to, dir+"/") && info.Size() > 0 {
				return
			}
		}
	}
	ts.Fatalf("nothing was spilled to %s", dir)
}

// scriptInterrupts tries every moment: the table is the old or the new one, and always clean.
func scriptInterrupts(ts *testscript.TestScript, neg bool, args []string) {
	endings(ts, args, syscall.SIGINT, func(table string) { ts.Check(clean(table)) })
}

// scriptKills does so with a signal nothing can be done about, and lets recover clean up.
func scriptKills(ts *testscript.TestScript, neg bool, args []string) {
	endings(ts, args, syscall.SIGKILL, func(table string) {
		ts.Check(ts.Exec("hupsert", "recover", table))
		ts.Check(clean(table))
	})
}

// endings ends runs by a signal at growing delays, until one gets through, and checks what is left.
func endings(ts *testscript.TestScript, args []string, signal os.Signal, after func(table string)) {
	table := ts.MkAbs(args[0])
	before := digest(ts, table)
	for delay := range moments(ts, 2*time.Millisecond) {
		cmd := command(ts, "upsert", args...)
		ts.Check(cmd.Start())
		timer := time.AfterFunc(delay, func() { _ = cmd.Process.Signal(signal) })
		_ = cmd.Wait()
		timer.Stop()
		after(table)
		code, changed := cmd.ProcessState.ExitCode(), digest(ts, table) != before
		switch {
		case code == 0 && !changed:
			ts.Fatalf("done after %v, but nothing is merged", delay)
		case code == 0:
			return
		case code == 130 && changed:
			ts.Fatalf("interrupted after %v, but something is merged", delay)
		case code == 130, code == -1 && !changed: // -1: by the signal itself
		case code == -1:
			return // committed, and finished by recover
		default:
			ts.Fatalf("exit code %d after %v", code, delay)
		}
	}
}

// moments are delays after the start of a command at which it is ended: one before its main function begins, which takes
// the race detector a second, and growing ones from there, in steps of that time where it is long.
func moments(ts *testscript.TestScript, step time.Duration) iter.Seq[time.Duration] {
	began := time.Now()
	ts.Check(command(ts, "version").Run())
	start := time.Since(began) / 2
	step = max(step, start/16)
	return func(yield func(time.Duration) bool) {
		if !yield(0) {
			return
		}
		for past := time.Duration(0); yield(start + past); past += step + past/16 {
		}
	}
}

func scriptKillsEnds(ts *testscript.TestScript, neg bool, args []string) {
	table, run := ts.MkAbs(args[0]), args[1]
	before := digest(ts, table)
	record := filepath.Join(filepath.Dir(table), ".hupsert", filepath.Base(table), "staging", run, "staged.json")
	for delay := range moments(ts, time.Millisecond) {
		cmd := command(ts, "publish", args[0], "--run", run)
		ts.Check(cmd.Start())
		timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		ts.Check(ts.Exec("hupsert", "recover", args[0]))
		_, err := os.Stat(record)
		staged, changed, code := err == nil, digest(ts, table) != before, cmd.ProcessState.ExitCode()
		switch {
		case staged == changed:
			ts.Fatalf("killed after %v: published is %v, and staged is %v", delay, changed, staged)
		case code == 0 && !changed:
			ts.Fatalf("done after %v, but nothing is published", delay)
		case code != 0 && code != -1:
			ts.Fatalf("exit code %d after %v", code, delay)
		case changed:
			ts.Check(clean(table))
			return
		}
	}
}

func command(ts *testscript.TestScript, name string, args ...string) *exec.Cmd {
	path, err := exec.LookPath("hupsert")
	ts.Check(err)
	cmd := exec.Command(path, append([]string{name}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	return cmd
}

func digest(ts *testscript.TestScript, table string) string {
	var lines []string
	for _, file := range parquetFiles(ts, table) {
		lines = append(lines, rowsOf(ts, file, filepath.Dir(file))...)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
