package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/backfill"
)

// backfill is the step's options as those of a backfill.
func (s *Step) backfill() *backfill.Options {
	o := s.Backfill
	o.Source, o.Upsert, o.DryRun = s.Source, s.Options, s.DryRun
	return &o
}

// keptPartitions is how many partitions of a backfill whose expectations don't hold stay staged: enough to see what is wrong, where all of
// a year may be.
const keptPartitions = 8

// runBackfill merges a range of partitions. Each is held against the expectations by itself, before it is published with others: one
// in which they don't hold fails, and stops none of the others.
func runBackfill(ctx context.Context, r *runner, s *Step) error {
	table, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = table.Close() }() // what is done is done; connections end with the process at the latest
	o := s.backfill()
	var checks *partitionChecks
	if len(s.Expectations) > 0 {
		key, err := rowKey(ctx, table, s)
		if err != nil {
			return err
		}
		checks = &partitionChecks{step: s, key: key}
		o.Check, o.Keep = checks.check, keptPartitions
	}
	plan, err := backfill.Prepare(ctx, table, *o)
	if err != nil {
		return err
	}
	progress := new(backfill.Progress)
	r.out.take(plan.NewReport(s.DryRun))
	r.Planned(s, r.out.Backfill, progress)
	if s.DryRun {
		return nil
	}
	report, err := plan.Run(ctx, progress)
	r.out.take(report)
	if checks != nil {
		r.out.Expectations = checks.results
	}
	return err
}

// take makes a backfill's report the step's.
func (o *StepReport) take(b *backfill.Report) { o.Backfill, o.Report = b, b.AsRun() }

// MarshalJSON implements json.Marshaler: the report of a step is its command's own.
func (o *StepReport) MarshalJSON() ([]byte, error) {
	type plain StepReport
	if o.Backfill == nil {
		return json.Marshal((*plain)(o))
	}
	return json.Marshal(struct {
		*plain
		Report *backfill.Report `json:"report"`
	}{(*plain)(o), o.Backfill})
}

// partitionChecks are a step's expectations, held against one partition after the other. Several may be at it at once.
type partitionChecks struct {
	step *Step
	key  []string

	mu      sync.Mutex
	results []ExpectationReport // of all partitions so far; nil: of none
}

// check holds the expectations against a partition.
func (c *partitionChecks) check(ctx context.Context, merged *partition.StagedView, report partition.PartitionReport) error {
	results, err := auditView(ctx, merged, []partition.PartitionReport{report}, c.step, c.key)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.add(results)
	if err == nil {
		return nil
	}
	// As one error: it is the partition's.
	told := partition.Error{Kind: partition.KindOf(err), Partition: report.Partition, Step: partition.StepVerify, Hint: partition.Hint(err)}
	told.Err = &joined{within(err, report.Partition)}
	if told.Hint == "" {
		told.Hint = fmt.Sprintf("the partition is as it was; hupsert upsert %s --partition %s --stage-only, with its files, merges it for a look", partition.ShellQuote(c.step.Table), partition.ShellQuote(partitionSpec(report.Partition)))
	}
	return &told
}

// within is errors of a partition whose name stands before them.
func within(err error, partitionName string) error {
	list := partition.SplitErrors(err)
	for i, e := range list {
		var known *partition.Error
		if errors.As(e, &known) && known.Partition == partitionName {
			bare := *known
			bare.Partition = ""
			list[i] = &bare
		}
	}
	return errors.Join(list...)
}

// joined is several errors in one line.
type joined struct{ error }

func (j *joined) Error() string { return strings.ReplaceAll(j.error.Error(), "\n", "; ") }
func (j *joined) Unwrap() error { return j.error }

// partitionSpec is a partition's path as a flag takes it.
func partitionSpec(path string) string {
	spec, err := partition.ParsePath(path)
	if err != nil {
		return path
	}
	return "'" + spec.String() + "'"
}

// add sums the results of a partition with those of the others.
func (c *partitionChecks) add(results []ExpectationReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.results == nil {
		c.results = results
		return
	}
	for i := range results {
		c.results[i].add(results[i])
	}
}

// add sums what became of an expectation in other partitions. What is broken anywhere is broken, and what could not be checked
// anywhere was not checked.
func (r *ExpectationReport) add(other ExpectationReport) {
	r.Rows += other.Rows
	r.Samples = append(r.Samples, other.Samples[:min(len(other.Samples), samples-len(r.Samples))]...)
	switch {
	case r.Message == "":
		r.Message = other.Message
	case other.Message != "":
		r.Message = shorten(r.Message+", "+other.Message, 1000)
	}
	if r.Status == Held || other.Status == Broken {
		r.Status = other.Status
	}
}
