package partition

import (
	"context"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/storage/swap"
)

// conditions are what the state may be in, as findings. A hint's TABLE is the table.
var conditions = map[swap.Condition]Finding{
	swap.Running:    {Severity: SeverityNote, Kind: FoundRunning, Hint: "check again when it is done"},
	swap.Unfinished: {Severity: SeverityWarning, Kind: FoundUnfinished, Hint: "hupsert recover TABLE finishes it, or undoes it; so does the next upsert"},
	swap.Abandoned:  {Severity: SeverityWarning, Kind: FoundAbandoned, Hint: "hupsert recover TABLE removes it; nothing of it is live"},
	swap.Kept:       {Severity: SeverityNote, Kind: FoundStaged, Hint: "publish it or discard it; nothing of it is live"},
	swap.StaleLock:  {Severity: SeverityNote, Kind: FoundStaleLock, Hint: "the lock itself ended with the run: nothing needs to be done"},
	swap.Unreadable: {Severity: SeverityError, Kind: FoundState, Hint: "restore the file from a backup, or move it away if what it says is not needed any more: until then runs, history or rollback fail"},
	swap.Damaged:    {Severity: SeverityError, Kind: FoundHistory, Hint: "the live partition is not touched by this; hupsert vacuum TABLE removes versions that can't be put back"},
	swap.SetBack: {Severity: SeverityError, Kind: FoundSetBack, Hint: "hupsert rollback TABLE --partition SPEC --to RUN --force shows that run's version again; the next upsert is refused without --ignore-set-back, " +
		"which goes on from what is there now"},
	swap.Changed: {Severity: SeverityNote, Kind: FoundChanged, Hint: "nothing needs to be done; a rollback needs --force, which keeps the live one as a version"},
}

// checkState looks at the state beside the table.
func (c *checker) checkState(ctx context.Context, partitions []string) error {
	wanted := func(p string) bool { return len(c.options.Partitions) == 0 || slices.Contains(partitions, p) }
	remarks, err := c.store.Inspect(ctx, wanted)
	if err != nil {
		return err
	}
	for _, r := range remarks {
		f := conditions[r.Condition]
		f.Partition, f.Run, f.Message, f.Count = r.Partition, r.Run, r.Message, 1
		if in, ok := strings.CutPrefix(r.Path, c.StateDir()+"/"); ok {
			f.File = in
		}
		f.Hint = strings.NewReplacer("TABLE", c.url, "SPEC", asSpec(r.Partition), "RUN", r.Run).Replace(f.Hint)
		c.find(f)
	}
	return nil
}
