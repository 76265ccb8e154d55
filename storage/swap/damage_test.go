package swap_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// Files of the state that recover reads, of a run that is committed and not finished.
const (
	stateOf      = "/warehouse/.hupsert/orders"
	recordFile   = stateOf + "/runs/r1.json"
	manifestFile = stateOf + "/staging/r1/p00001/manifest.json"
	claimFile    = stateOf + "/claims/dt=1/v000001/claim.json"
	identityFile = stateOf + "/table.json"
	lockFile     = stateOf + "/locks/dt=3.lock"
	holderFile   = lockFile + ".json"
)

// neighbour is a table beside ours, of which nothing may change.
const neighbour = "/warehouse/neighbour"

// unfinished is a table of which a run is committed, with a partition switched, the next one not and the others of no concern.
func unfinished(t testing.TB, way swap.Way) *mem.FS {
	t.Helper()
	m := made(t, way, threeDays)
	must(t, mkdirs(m, neighbour+"/dt=1"))
	must(t, writeFile(m, neighbour+"/dt=1/a", "not ours"))
	f := faultfs.Wrap(m)
	if way == swap.Exchange {
		f.Inject(&faultfs.Rule{Op: faultfs.Exchange, Path: "orders/dt=2"})
	}
	f.Inject(&faultfs.Rule{Op: faultfs.Rename, Path: "/warehouse/orders/dt=2"})
	if err := change(f, way, "r1", "dt=1", "dt=2"); !errors.Is(err, swap.ErrUnfinished) {
		t.Fatalf("the run ended with %v", err)
	}
	return m
}

// replace puts other content into a file.
func replace(t testing.TB, m *mem.FS, name string, data []byte) {
	t.Helper()
	if err := m.Remove(bg, name); err == nil {
		must(t, writeFile(m, name, string(data)))
	}
}

// recoverDamaged recovers, and says what is wrong with the table then: each partition is old or new, and what no run may
// touch is as it was.
func recoverDamaged(t testing.TB, m *mem.FS, way swap.Way) (wrong string, err error) {
	t.Helper()
	s, err := swap.Open(bg, m, table, options(m, way))
	if err == nil {
		_, err = s.Recover(bg, nil)
		_, _ = s.History(bg, "dt=1")
	}
	if data, rerr := stage.ReadFile(bg, m, neighbour+"/dt=1/a"); rerr != nil || string(data) != "not ours" {
		return "the table beside this one has changed", err
	}
	got := readTable(t, m)
	if got["dt=3"]["a"] != "3a" || len(got["dt=3"]) != 1 {
		return "a partition that the run is not about has changed", err
	}
	for _, part := range []string{"dt=1", "dt=2"} {
		files, day := got[part], strings.TrimPrefix(part, "dt=")
		old := files["a"] == day+"a" && files["b"] == day+"b" && len(files) == 2
		new := files["part-r1.parquet"] == "rows of r1" && files["b"] == day+"b" && len(files) == 2
		switch {
		case old || new:
		case files == nil && len(got) == 2 && way == swap.Rename: // between two renames, as the kill left it
		default:
			return part + " is neither old nor new: " + got.String(), err
		}
	}
	if len(got) != 3 && (way != swap.Rename || err == nil) {
		return "a partition came or went: " + got.String(), err
	}
	return "", err
}

// TestFlippedState flips a bit of each byte of each file of the state: the run is finished or undone as if nothing were, or
// recover says what is wrong; no partition gets what is not its own.
func TestFlippedState(t *testing.T) {
	needsEveryPoint(t)
	for _, way := range ways {
		for _, name := range []string{recordFile, manifestFile, claimFile, identityFile} {
			t.Run(string(way)+"/"+path.Base(name), func(t *testing.T) {
				t.Parallel()
				data, err := stage.ReadFile(bg, unfinished(t, way), name)
				must(t, err)
				refused := 0
				for i := range data {
					damaged := bytes.Clone(data)
					damaged[i] ^= 1 << (i % 7)
					m := unfinished(t, way)
					replace(t, m, name, damaged)
					wrong, err := recoverDamaged(t, m, way)
					if wrong != "" {
						t.Fatalf("byte %d (%q for %q): %s; recover said %v", i, damaged[i], data[i], wrong, err)
					}
					if err != nil {
						refused++
					}
				}
				// A field's name may be in capitals too.
				if name == recordFile && refused < len(data)*3/4 {
					t.Errorf("of %d bytes of the record %d were refused", len(data), refused)
				}
				t.Logf("%d bytes, %d refused", len(data), refused)
			})
		}
	}
}

// FuzzRecord: whatever a run record says, even with its checksum right, recover changes nothing outside of the table and the state,
// and without it nothing but what the run was about.
func FuzzRecord(f *testing.F) {
	for i, way := range ways {
		data, err := stage.ReadFile(bg, unfinished(f, way), recordFile)
		must(f, err)
		f.Add(data, i == 0, false)
		f.Add(data, i == 0, true)
		for _, change := range [][2]string{{`"dt=1"`, `"dt=3"`}, {`"dt=1"`, `"../neighbour/dt=1"`}, {`"dt=1"`, `"/etc"`}, {"staging/r1/p00001", "staging/r1/p00002"},
			{stateOf + "/staging/r1/p00001/data", neighbour + "/dt=1"}, {`"origin"`, `"../../../../neighbour"`}, {`"r1"`, `"r2"`}, {`"r1"`, `"../../x"`}} {
			f.Add(bytes.ReplaceAll(data, []byte(change[0]), []byte(change[1])), i == 0, true)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, first, seal bool) {
		way := ways[1]
		if first {
			way = ways[0]
		}
		if seal {
			data = swap.SealRecord(data)
		}
		m := unfinished(t, way)
		replace(t, m, recordFile, data)
		before := outside(t, m)
		wrong, err := recoverDamaged(t, m, way)
		if after := outside(t, m); after != before {
			t.Fatalf("outside of table and state there was\n%s\nand is\n%s\nrecover said %v", before, after, err)
		}
		if wrong != "" && !seal {
			t.Fatalf("%s; recover said %v", wrong, err)
		}
	})
}

// outside is what there is beside the table and its state.
func outside(t testing.TB, m *mem.FS) string {
	t.Helper()
	var lines []string
	var walk func(dir string)
	walk = func(dir string) {
		list, err := m.List(bg, dir)
		must(t, err)
		for _, i := range list {
			name := path.Join(dir, i.Name)
			if name == table || name == stateOf {
				continue
			}
			lines = append(lines, name)
			if i.IsDir() {
				walk(name)
			}
		}
	}
	walk("/")
	return strings.Join(lines, "\n")
}

// FuzzState: whatever the other files of the state hold, recover ends, and each partition is old or new.
func FuzzState(f *testing.F) {
	names := []string{manifestFile, claimFile, identityFile}
	for which, name := range names {
		data, err := stage.ReadFile(bg, unfinished(f, swap.Rename), name)
		must(f, err)
		f.Add(uint8(which), data)
		f.Add(uint8(which), data[:len(data)/2])
	}
	f.Add(uint8(0), []byte(`{"files":[{"name":"../../x"}]}`))
	f.Add(uint8(1), []byte(`{"version":-1,"run":"r1/../r9","before":"../x"}`))
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		for _, way := range ways {
			m := unfinished(t, way)
			replace(t, m, names[int(which)%len(names)], data)
			before := outside(t, m)
			wrong, err := recoverDamaged(t, m, way)
			if wrong == "" && outside(t, m) != before {
				wrong = "something outside of table and state has changed"
			}
			if wrong != "" {
				t.Fatalf("%s: %s; recover said %v", way, wrong, err)
			}
		}
	})
}

// FuzzHolder: whatever the file says that names a lease's holder, who comes second is told that the partition is locked.
func FuzzHolder(f *testing.F) {
	f.Add([]byte(`{"host":"h","pid":7,"run":"r9","since":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"pid":"x"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := unfinished(t, swap.Rename)
		must(t, mkdirs(m, stateOf+"/locks"))
		lock, err := m.Lock(bg, lockFile)
		must(t, err)
		must(t, writeFile(m, holderFile, string(data)))
		if err := change(m, swap.Rename, "r2", "dt=3"); !errors.Is(err, storage.ErrLocked) && !errors.Is(err, swap.ErrLocked) {
			t.Fatalf("the second run ends with %v", err)
		}
		must(t, lock.Unlock())
		must(t, change(m, swap.Rename, "r3", "dt=3"))
	})
}

// FuzzStateJSON: what is read of a manifest is what was written.
func FuzzStateJSON(f *testing.F) {
	f.Add([]byte(`{"run":"r1","partition":"dt=1","time":"2026-01-02T03:04:05Z","rows":3,"files":[{"name":"a","size":1,"mtime":"2026-01-02T03:04:05.123456789Z"}]}`))
	f.Add([]byte(`{"rows":9223372036854775807,"sources":["\u0000"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var want stage.Manifest
		if json.Unmarshal(data, &want) != nil || want.Time.IsZero() {
			return
		}
		m := mem.New()
		if stage.WriteJSON(bg, m, "/m.json", want) != nil {
			return // a year that JSON has not
		}
		var got stage.Manifest
		must(t, stage.ReadJSON(bg, m, "/m.json", &got))
		a, err := json.Marshal(want)
		must(t, err)
		b, err := json.Marshal(got)
		must(t, err)
		if !bytes.Equal(a, b) {
			t.Fatalf("%s became %s", a, b)
		}
	})
}
