package metastore

import (
	"errors"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage/swap"
)

func TestPointAddsChangesAndDrops(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t)
		r := s.Registry(table, RegistryOptions{})
		list := pointers(table, 100)
		for range 2 { // to do it twice does no harm
			point(t, r, list)
		}
		first := s.partition(t, table, list[7].Partition)
		holds(t, first.Parameters, map[string]string{"numRows": "10", "totalSize": "1000", "numFiles": "2", ParamRun: "first", ParamVersion: "1", accuracy: ""})
		if len(first.Columns) != len(orderColumns) || first.Columns[1] != orderColumns[1] || first.Format != table.Format {
			t.Errorf("a new partition has %v as %v", first.Columns, first.Format)
		}

		next := onward(list, "second")
		for range 2 {
			point(t, r, next)
			second := s.partition(t, table, list[7].Partition)
			holds(t, second.Parameters, map[string]string{"numRows": "11", "totalSize": "1001", "numFiles": "3", ParamRun: "second", ParamVersion: "2", accuracy: ""})
			stays(t, first.raw, second.raw)
		}
		seen, err := r.Look(t.Context(), append(names(list), "dt=1999-01-01/hr=1"))
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) != len(list) {
			t.Errorf("%d partitions seen of %d", len(seen), len(list))
		}
		for _, p := range next {
			if seen[p.Partition].Folder != p.Folder {
				t.Errorf("%s is at %s, not %s", p.Partition, seen[p.Partition].Folder, p.Folder)
			}
		}

		for i := range next {
			next[i].Was, next[i].Folder = next[i].Folder, ""
		}
		for range 2 {
			point(t, r, next[:60])
		}
		left, err := s.PartitionNames(t.Context(), s.database, table.Name)
		if err != nil || len(left) != 40 {
			t.Errorf("%d partitions are left of 40: %v", len(left), err)
		}
	})
}

func names(list []swap.Pointer) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.Partition
	}
	return out
}

// Where one partition is not where it was said to be, no other changes either.
func TestPointChangesNothingWhereOneWasMoved(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t)
		r := s.Registry(table, RegistryOptions{})
		list := pointers(table, 5)
		point(t, r, list[:4])
		for _, c := range []struct {
			name   string
			change func([]swap.Pointer) []swap.Pointer
			is     string
		}{
			{"elsewhere", func(l []swap.Pointer) []swap.Pointer { l[3].Was += "x"; return l }, list[3].Folder},
			{"gone", func(l []swap.Pointer) []swap.Pointer {
				l[0].Partition = "dt=1999-01-01/hr=5"
				return l
			}, "not registered"},
			{"there already", func(l []swap.Pointer) []swap.Pointer { l[2].Was = ""; return l }, list[2].Folder},
			{"to drop", func(l []swap.Pointer) []swap.Pointer { l[1].Was, l[1].Folder = "/x", ""; return l }, list[1].Folder},
		} {
			err := r.Point(t.Context(), c.change(onward(list[:4], "next")))
			if !errors.Is(err, swap.ErrConflict) || !strings.Contains(err.Error(), c.is) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		seen, err := r.Look(t.Context(), names(list))
		if err != nil || len(seen) != 4 {
			t.Fatal(seen, err)
		}
		for _, p := range list[:4] {
			if seen[p.Partition].Folder != p.Folder {
				t.Errorf("%s is at %s", p.Partition, seen[p.Partition].Folder)
			}
		}
	})
}

// Somebody adds or drops partitions between a look and a change.
func TestPointAgainstOthers(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t)
		r := s.Registry(table, RegistryOptions{})
		list := pointers(table, 3)
		if err := s.AddPartitions(t.Context(), table, map[string]string{list[0].Partition: s.location + "/foreign"}); err != nil {
			t.Fatal(err)
		}
		added, err := r.fresh(table, list[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := r.add(t.Context(), table, []*hmsapi.Partition{added}); !errors.Is(err, swap.ErrConflict) {
			t.Errorf("added over a foreign partition: %v", err)
		}
		if p := s.partition(t, table, list[0].Partition); p.Location != s.location+"/foreign" {
			t.Errorf("the foreign partition is at %s", p.Location)
		}

		point(t, r, list[1:])
		c, err := r.plan(t.Context(), table, onward(list[1:], "next"))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.drop(t.Context(), []string{list[2].Partition}); err != nil {
			t.Fatal(err)
		}
		if err := r.alter(t.Context(), c.alter); !stale(err) {
			t.Errorf("altered with a partition that is gone: %v", err)
		}
		if p := s.partition(t, table, list[1].Partition); p.Parameters[ParamRun] != "first" {
			t.Errorf("half of it was altered: %v", p.Parameters)
		}
	})
}

func TestPointOfATableWithoutPartitions(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t, unpartitioned)
		table.raw.Sd.SerdeInfo.Parameters[sparkPath] = table.Location // a table that Spark has made
		if err := s.alterTable(t.Context(), table.raw); err != nil {
			t.Fatal(err)
		}
		r := s.Registry(table, RegistryOptions{})
		before, err := r.Look(t.Context(), []string{""})
		if err != nil {
			t.Fatal(err)
		}
		_, root := table.Storage()
		p := swap.Pointer{Was: root, Folder: root + "-state/v1", Run: "first", Version: 1, Rows: 7, Bytes: 70, Files: 1}
		for range 2 {
			point(t, r, []swap.Pointer{p})
		}
		after, err := r.Look(t.Context(), []string{""})
		if err != nil || after[""].Folder != p.Folder || after[""].Stamp != before[""].Stamp {
			t.Errorf("%v, then %v: %v", before, after, err)
		}
		now := s.read(t, table.Name)
		holds(t, now.Parameters, map[string]string{"numRows": "7", "totalSize": "70", "numFiles": "1", ParamRun: "first", accuracy: ""})
		if spark := now.raw.Sd.SerdeInfo.Parameters[sparkPath]; spark != now.Location {
			t.Errorf("Spark reads %s", spark)
		}
		if err := r.Point(t.Context(), []swap.Pointer{{Was: root, Folder: root + "-state/v2"}}); !errors.Is(err, swap.ErrConflict) {
			t.Errorf("pointed from where it is not: %v", err)
		}
	})
}

func TestStatisticsOfColumnsGo(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t)
		r := s.Registry(table, RegistryOptions{})
		list := pointers(table, 2)
		point(t, r, list)
		for _, p := range list {
			s.count(t, table, p.Partition)
		}
		if p := s.partition(t, table, list[0].Partition); !hasColumnStatistics(p.Parameters) || s.counted(t, table, p.Name) != 1 {
			t.Fatalf("no statistics to remove: %v", p.Parameters)
		}
		point(t, r, onward(list, "next")[:1])
		p := s.partition(t, table, list[0].Partition)
		if hasColumnStatistics(p.Parameters) || s.counted(t, table, p.Name) != 0 {
			t.Errorf("statistics of the old rows stay: %v", p.Parameters)
		}
		if s.counted(t, table, list[1].Partition) != 1 {
			t.Error("statistics of a partition that was not touched are gone")
		}

		flat := s.create(t, unpartitioned, func(n *NewTable) { n.Name, n.Location = "flat", s.location+"/flat" })
		s.count(t, flat, "")
		if n := s.counted(t, flat, ""); n != 1 {
			t.Fatalf("%d columns have statistics", n)
		}
		_, root := flat.Storage()
		point(t, s.Registry(flat, RegistryOptions{}), []swap.Pointer{{Was: root, Folder: root + "-state/v1", Run: "first", Version: 1}})
		if n := s.counted(t, flat, ""); n != 0 || hasColumnStatistics(s.read(t, flat.Name).Parameters) {
			t.Errorf("%d columns have statistics", n)
		}
	})
}

// count gives order_id of a partition, or ("") the table, statistics as ANALYZE does.
func (s service) count(t *testing.T, table *Table, partition string) {
	t.Helper()
	if err := s.Analyse(t.Context(), table, partition, "order_id", 1, 9); err != nil {
		t.Fatal(err)
	}
}

// counted is how many columns have statistics.
func (s service) counted(t *testing.T, table *Table, partition string) int {
	t.Helper()
	n, err := s.Analysed(t.Context(), table, partition, "order_id")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A stamp changes with what a merge rests on, and not with what only counts.
func TestStamp(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t)
		r := s.Registry(table, RegistryOptions{})
		list := pointers(table, 1)
		point(t, r, list)
		look := func() string {
			t.Helper()
			seen, err := r.Look(t.Context(), names(list))
			if err != nil {
				t.Fatal(err)
			}
			return seen[list[0].Partition].Stamp
		}
		was := look()
		s.count(t, table, list[0].Partition)
		point(t, r, onward(list, "next"))
		if err := s.SetParameters(t.Context(), s.database, table.Name, map[string]string{ParamKey: "order_id", "comment": "of shops"}); err != nil {
			t.Fatal(err)
		}
		if is := look(); is != was {
			t.Error("a publish, statistics and our own parameters change the stamp")
		}
		if err := s.SetParameters(t.Context(), s.database, table.Name, map[string]string{"parquet.column.index.access": "true"}); err != nil {
			t.Fatal(err)
		}
		is := look()
		if is == was {
			t.Error("a parameter that changes how files are read does not change the stamp")
		}
		if _, err := s.AddColumns(t.Context(), s.database, table.Name, []Column{{Name: "tip", Type: "int"}}, names(list)); err != nil {
			t.Fatal(err)
		}
		if look() == is {
			t.Error("a new column does not change the stamp")
		}
	})
}

func TestLookNamesAPartitionElsewhere(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t)
		r := s.Registry(table, RegistryOptions{})
		list := pointers(table, 2)
		point(t, r, list[:1])
		if err := s.AddPartitions(t.Context(), table, map[string]string{list[1].Partition: "file:" + t.TempDir()}); err != nil {
			t.Fatal(err)
		}
		_, err := r.Look(t.Context(), names(list))
		if !errors.Is(err, ErrElsewhere) || !strings.Contains(err.Error(), list[1].Partition) {
			t.Error(err)
		}
		if _, err := r.Look(t.Context(), names(list[:1])); err != nil {
			t.Error(err)
		}
	})
}
