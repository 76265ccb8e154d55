package partition

import (
	"context"
	"slices"
	"time"

	"github.com/hupsert/hupsert/storage/swap"
)

// Version is one version of a partition.
type Version struct {
	Partition string    `json:"partition"`
	Version   int64     `json:"version"`
	Run       string    `json:"run"`           // the run that made it; "origin" for the state found first
	Time      time.Time `json:"time,omitzero"` // zero for what no run of ours made
	Command   string    `json:"command"`
	Mode      string    `json:"mode"`
	Rows      int64     `json:"rows"` // -1 where nobody knows any more
	Bytes     int64     `json:"bytes"`
	Live      bool      `json:"live"`
	Kept      bool      `json:"kept"`             // it can be put back
	Absent    bool      `json:"absent,omitempty"` // in this version there is no such partition
	Restores  string    `json:"restores,omitempty"`
	Work      *Work     `json:"work,omitempty"` // what the run did; nil where it left no word of that
}

// History lists the versions of one partition, or of all where spec is "", each partition's newest
// first. It has those that a run published, and before them what the run found.
func (t *Table) History(ctx context.Context, spec string) ([]Version, error) {
	v, err := t.history(ctx, spec)
	return v, locate(err, "", StepOpen)
}

func (t *Table) history(ctx context.Context, spec string) ([]Version, error) {
	if err := t.known(ctx); err != nil {
		return nil, err
	}
	partitions, err := t.store.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	if spec != "" {
		if partitions, err = t.pick(ctx, partitions, spec); err != nil {
			return nil, err
		}
	}
	var out []Version
	for _, p := range partitions {
		versions, err := t.store.History(ctx, p)
		if err != nil {
			return nil, locate(err, p, StepList)
		}
		for _, v := range slices.Backward(versions) {
			out = append(out, t.describeVersion(ctx, p, v))
		}
	}
	return out, nil
}

func (t *Table) describeVersion(ctx context.Context, partition string, v swap.Version) Version {
	return Version{Partition: partition, Version: v.Number, Run: v.Run, Time: v.Time, Command: v.Command, Mode: v.Mode,
		Rows: t.versionRows(ctx, v), Bytes: v.Bytes, Live: v.Live, Kept: v.Path != "" || v.Absent, Absent: v.Absent, Restores: v.Restores,
		Work: workOf(v)}
}

// versionRows is how many rows a version has. What somebody else wrote says it in its footers only; -1
// where those are gone or can't be read.
func (t *Table) versionRows(ctx context.Context, v swap.Version) int64 {
	switch {
	case v.Absent:
		return 0
	case v.Rows >= 0 || v.Path == "":
		return v.Rows
	}
	info, err := t.describeFolder(ctx, v.Path)
	if err != nil {
		return -1
	}
	return info.Rows
}

// pick keeps the partitions that have the values of a spec.
func (t *Table) pick(ctx context.Context, partitions []string, spec string) ([]string, error) {
	c, err := t.ReadConfig(ctx)
	if err != nil {
		return nil, err
	}
	l, err := t.discover(ctx, c)
	if err != nil {
		return nil, err
	}
	named, err := l.specs([]string{spec})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range partitions {
		if l.matches(named[0], p) {
			out = append(out, p)
		}
	}
	return out, nil
}

// historySize is what earlier versions take, of some partitions or of all.
func (t *Table) historySize(ctx context.Context, partitions ...string) (HistorySize, error) {
	bytes, versions, err := t.store.HistorySize(ctx, partitions...)
	return HistorySize{Versions: versions, Bytes: bytes}, err
}

// historyAfter is what the report of a run says of earlier versions of its partitions: to look at those of a whole table may take longer
// than the run.
func (t *Table) historyAfter(ctx context.Context, touched []PartitionReport) (HistorySize, error) {
	if len(touched) == 0 {
		return HistorySize{}, nil
	}
	var partitions []string
	for _, p := range touched {
		partitions = append(partitions, p.Partition)
	}
	return t.historySize(ctx, partitions...)
}
