package swap_test

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/swap"
)

// remarks are what Inspect finds, as "condition partition run".
func remarks(t testing.TB, m storage.FS) (list []string) {
	t.Helper()
	s, err := swap.Open(bg, m, table, options(m, swap.Auto))
	must(t, err)
	found, err := s.Inspect(bg, func(string) bool { return true })
	must(t, err)
	for _, r := range found {
		if r.Message == "" || r.Path == "" {
			t.Errorf("a remark that says nothing: %+v", r)
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Condition, r.Partition, r.Run)))
	}
	return list
}

func TestInspect(t *testing.T) {
	state := "/warehouse/.hupsert/orders/"
	remove := func(t *testing.T, m storage.FS, name string) {
		t.Helper()
		must(t, m.Remove(bg, name))
	}
	for name, c := range map[string]struct {
		do   func(t *testing.T, m storage.FS)
		want string
	}{
		"nothing": {func(*testing.T, storage.FS) {}, ""},
		"a lock whose holder is gone": {func(t *testing.T, m storage.FS) {
			must(t, writeFile(m, state+"locks/dt=1.lock.json", `{"run": "r9"}`))
		}, "stale_lock  r9"},
		"a lock that is held": {func(t *testing.T, m storage.FS) {
			must(t, writeFile(m, state+"locks/dt=1.lock.json", `{"run": "r9"}`))
			_, err := m.Lock(bg, state+"locks/dt=1.lock")
			must(t, err)
		}, ""},
		"a run under way": {func(t *testing.T, m storage.FS) {
			s := open(t, m, swap.Exchange)
			_, err := s.Begin(bg, "r9", "upsert", true)
			must(t, err)
		}, "running  r9"},
		"a staging that is left": {func(t *testing.T, m storage.FS) {
			must(t, mkdirs(m, state+"staging/r9"))
		}, "abandoned  r9"},
		"a staging that is kept": {func(t *testing.T, m storage.FS) {
			must(t, stageOnly(m, swap.Exchange, "r9", "dt=1"))
		}, "kept  r9"},
		"a record that is no JSON": {func(t *testing.T, m storage.FS) {
			must(t, writeFile(m, state+"runs/r9.json", "{"))
		}, "unreadable  r9"},
		"a record of a finished run that is no JSON": {func(t *testing.T, m storage.FS) {
			remove(t, m, state+"runs/done/r1.json")
			must(t, writeFile(m, state+"runs/done/r1.json", "{"))
		}, "unreadable  r1"},
		"a claim that is no JSON": {func(t *testing.T, m storage.FS) {
			remove(t, m, state+"claims/dt=1/v000001/claim.json")
			must(t, writeFile(m, state+"claims/dt=1/v000001/claim.json", "[]"))
		}, "unreadable dt=1"},
		"a claim that is gone": {func(t *testing.T, m storage.FS) {
			remove(t, m, state+"claims/dt=1/v000001/claim.json")
		}, "unreadable dt=1"},
		"a version without one of its files": {func(t *testing.T, m storage.FS) {
			remove(t, m, state+"history/dt=1/r1/b")
		}, "damaged dt=1 r1"},
		"a version with a file that was cut": {func(t *testing.T, m storage.FS) {
			remove(t, m, state+"history/dt=1/r1/b")
			must(t, writeFile(m, state+"history/dt=1/r1/b", "1"))
		}, "damaged dt=1 r1"},
		"a first version with less in it": {func(t *testing.T, m storage.FS) {
			remove(t, m, state+"history/dt=1/origin/a")
		}, "damaged dt=1 origin"},
		"a version that is vacuumed": {func(t *testing.T, m storage.FS) {
			_, err := open(t, m, swap.Exchange).Vacuum(bg, 0, false)
			must(t, err)
		}, ""},
		"a partition that somebody else changed": {func(t *testing.T, m storage.FS) {
			must(t, writeFile(m, table+"/dt=1/theirs", "x"))
		}, "changed dt=1 r2"},
	} {
		t.Run(name, func(t *testing.T) {
			m := made(t, swap.Auto, threeDays)
			must(t, change(m, swap.Exchange, "r1", "dt=1"))
			must(t, change(m, swap.Exchange, "r2", "dt=1"))
			c.do(t, m)
			if got := strings.Join(remarks(t, m), ", "); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestInspectOfNoState: a table without a state gets none.
func TestInspectOfNoState(t *testing.T) {
	m := made(t, swap.Auto, threeDays)
	if got := remarks(t, m); len(got) > 0 {
		t.Errorf("found %q", got)
	}
	if _, err := m.Stat(bg, path.Join("/warehouse", ".hupsert")); err == nil {
		t.Error("a state was made")
	}
}

// TestInspectAfterCrash: wherever the power is cut, Inspect tells of what recover then has to do, of nothing
// else, and changes nothing.
func TestInspectAfterCrash(t *testing.T) {
	for _, way := range allWays {
		for _, sc := range scenarios() {
			switch sc.name {
			case "three partitions", "a second run", "rollback":
			default:
				continue
			}
			crashAll(t, sc, way, nil, 1, func(m *mem.FS, what string) {
				before := readTable(t, m).String()
				found := remarks(t, m)
				after := readTable(t, m).String()
				s := open(t, m, way)
				did, err := s.Recover(bg, nil)
				must(t, err)
				undone, finished := 0, 0
				for _, r := range found {
					switch condition, _, _ := strings.Cut(r, " "); condition {
					case "abandoned":
						undone++
					case "unfinished":
						finished++
					case "stale_lock":
					default:
						t.Errorf("%s: found %q", what, r)
					}
				}
				if undone+finished != len(did.Undone)+len(did.Finished) || before != after {
					t.Errorf("%s: found %q, recover did %+v", what, found, did)
				}
			})
		}
	}
}
