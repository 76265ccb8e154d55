package metastore

import (
	"context"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
)

// Partition is what is registered of one.
type Partition struct {
	Name       string   // "dt=2026-01-01/hr=5"
	Values     []string // as the metastore has them: text, also of an int column; NULL is DefaultValue
	Location   string   // its URL
	Columns    []Column // its own, which may be older than the table's
	Parameters map[string]string
	Format     Format

	raw *hmsapi.Partition
}

// PartitionNames lists all partitions of a table by name, sorted.
func (m *Client) PartitionNames(ctx context.Context, database, table string) ([]string, error) {
	var names []string
	err := m.call(ctx, "list partitions", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) (err error) {
		names, err = api.GetPartitionNames(ctx, database, table, -1)
		return err
	})
	slices.Sort(names)
	return names, at(err, database+"."+table)
}

// Partitions reads those that are named, sorted by name; what is not registered is left out.
func (m *Client) Partitions(ctx context.Context, t *Table, names []string) ([]*Partition, error) {
	raw, err := m.rawPartitions(ctx, t.Database, t.Name, names)
	if err != nil {
		return nil, err
	}
	out := make([]*Partition, 0, len(raw))
	for _, r := range raw {
		p, err := t.partition(r)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *Partition) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// AllPartitions reads all of a table, sorted by name.
func (m *Client) AllPartitions(ctx context.Context, t *Table) ([]*Partition, error) {
	names, err := m.PartitionNames(ctx, t.Database, t.Name)
	if err != nil {
		return nil, err
	}
	return m.Partitions(ctx, t, names)
}

// batch is how many partitions are asked for in one call, and mostCalls how many such calls are made at once.
const (
	batch     = 500
	mostCalls = 4
)

func (m *Client) rawPartitions(ctx context.Context, database, table string, names []string) ([]*hmsapi.Partition, error) {
	var mu sync.Mutex
	var out []*hmsapi.Partition
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(mostCalls)
	for part := range slices.Chunk(names, batch) {
		group.Go(func() error {
			var list []*hmsapi.Partition
			err := m.call(ctx, "get partitions", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) (err error) {
				list, err = api.GetPartitionsByNames(ctx, database, table, part)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			out = append(out, list...)
			return at(err, database+"."+table)
		})
	}
	return out, group.Wait()
}

func (t *Table) partition(raw *hmsapi.Partition) (*Partition, error) {
	name, err := t.NameOf(raw.Values)
	if err != nil {
		return nil, err
	}
	p := &Partition{Name: name, Values: raw.Values, Parameters: raw.Parameters, raw: raw}
	if p.Parameters == nil {
		p.Parameters = map[string]string{}
	}
	sd := some(raw.Sd)
	p.Location, p.Columns, p.Format = sd.GetLocation(), columnsOf(sd.Cols), formatOf(sd)
	return p, nil
}

// Shared finds partitions whose folders are one, or lie in one another: a change of one would be seen in the other. Each pair is
// of names, the outer first.
func Shared(list []*Partition) [][2]string {
	type at struct{ place, name string }
	all := make([]at, len(list))
	for i, p := range list {
		place := parsePlace(p.Location)
		all[i] = at{place.scheme + "://" + place.host + strings.TrimSuffix(place.path, "/") + "/", p.Name}
	}
	slices.SortFunc(all, func(a, b at) int {
		if c := strings.Compare(a.place, b.place); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	var out [][2]string
	outer := 0
	for i := 1; i < len(all); i++ {
		if strings.HasPrefix(all[i].place, all[outer].place) {
			out = append(out, [2]string{all[outer].name, all[i].name})
		} else {
			outer = i
		}
	}
	return out
}
