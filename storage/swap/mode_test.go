package swap_test

import (
	"io/fs"
	"path"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/local"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// TestModes: a partition's folder keeps its mode, set-group-id and sticky included, wherever it is staged;
// a new one has that of the folder it comes to lie in.
func TestModes(t *testing.T) {
	for _, c := range []struct {
		name            string
		warehouse, days fs.FileMode // of what the state lies in, and of table and partition
	}{
		{"plain", 0o755, 0o750},
		{"shared", 0o755, 0o770 | fs.ModeSetgid},
		{"shared and sticky", 0o755, 0o777 | fs.ModeSetgid | fs.ModeSticky},
		{"the state's folder hands down what the partition has not", 0o775 | fs.ModeSetgid, 0o750},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := local.FS{}
			warehouse := path.Join(t.TempDir(), "warehouse")
			root := path.Join(warehouse, "orders")
			must(t, m.Mkdir(bg, warehouse, 0o755))
			must(t, m.SetAttr(bg, warehouse, storage.Attr{Mode: &c.warehouse}))
			for _, dir := range []string{root, path.Join(root, "dt=1")} {
				must(t, m.Mkdir(bg, dir, 0o755))
				must(t, m.SetAttr(bg, dir, storage.Attr{Mode: &c.days}))
			}
			must(t, writeFile(m, path.Join(root, "dt=1", "a"), "1a"))
			s, err := swap.Open(bg, m, root, swap.Options{Clock: clock})
			must(t, err)
			r, err := s.Begin(bg, "r1", "upsert", true)
			must(t, err)
			var list []swap.Publication
			for _, part := range []string{"dt=1", "dt=2"} {
				in, err := s.Inputs(bg, part)
				must(t, err)
				d, err := r.Stage(bg, part)
				must(t, err)
				sealed, err := d.Seal(bg, stage.Manifest{Run: "r1", Partition: part})
				must(t, err)
				list = append(list, swap.Publication{Partition: part, Inputs: in, Dir: d, Manifest: sealed})
			}
			_, err = r.Publish(bg, list)
			must(t, err)
			must(t, r.Close())
			for _, part := range []string{"dt=1", "dt=2"} {
				info, err := m.Stat(bg, path.Join(root, part))
				must(t, err)
				if info.Mode != fs.ModeDir|c.days {
					t.Errorf("%s: %v, want %v", part, info.Mode, fs.ModeDir|c.days)
				}
			}
		})
	}
}
