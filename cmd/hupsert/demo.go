package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/internal/orders"
	"github.com/hupsert/hupsert/partition"
)

func (s *session) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Make a small real table, merge a day of changes, and show what happened",
		Long: `Makes a table of a million order lines in ten partitions and a file with a day
of changes (new, late, corrected, cancelled, repeated and outdated lines),
then plans the merge, does it, looks at the history, undoes it and does it
again. Each command is printed as you can repeat it by hand. Works offline;
DIR (default hupsert-demo) must not exist or be empty.`,
		Example: `  hupsert demo
  hupsert demo /tmp/shop`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "hupsert-demo"
			if len(args) == 1 {
				dir = args[0]
			}
			if strings.Contains(dir, "://") {
				return usageError{fmt.Errorf("%s: the demo is made in a folder of this machine", dir), "in a checkout, make services makes its table on HDFS and in a metastore"}
			}
			return (&demo{session: s, dir: dir}).run(cmd.Context())
		},
	}
}

// demo is one demonstration. Its steps are command lines that run in this process.
type demo struct {
	*session
	dir string
}

func (d *demo) table() string { return filepath.Join(d.dir, "orders") }
func (d *demo) changes() string {
	return filepath.Join(d.dir, "changes", orders.LastDay()+".parquet")
}

func (d *demo) run(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	today := "dt=" + orders.LastDay()
	merge := []string{"upsert", d.table(), "--from", d.changes(), "--delete-when", "deleted"}
	plan := append([]string{"plan"}, merge[1:]...)
	for _, step := range []struct {
		say  string
		args []string
	}{
		{"Its key and the order of versions, declared once:",
			[]string{"config", d.table(), "--set", "key=order_id,line_no", "--set", "order-by=updated_at"}},
		{"What would the changes do? Nothing is written yet:", plan},
		{"Do it. The partitions are committed together, and unchanged files stay:", merge},
		{"What came before is kept, here for the last day:", []string{"history", d.table(), "--partition", today}},
	} {
		if err := d.step(ctx, step.say, step.args); err != nil {
			return err
		}
	}
	run, err := d.lastRun(ctx, today)
	if err != nil {
		return err
	}
	if err := d.step(ctx, "Undo the whole run, in all its partitions:", []string{"rollback", d.table(), "--run", run}); err != nil {
		return err
	}
	if err := d.step(ctx, "And merge again; a rollback is only another version:", merge); err != nil {
		return err
	}
	d.say("\nThe table is plain Parquet in plain folders: open it with any engine. Next:\n\n  " +
		strings.Join([]string{
			d.line(2, []string{"show", d.table()}),
			d.line(2, []string{"vacuum", d.table(), "--keep", "0s", "--dry-run"}),
			d.line(2, []string{"upsert", "--help"}),
			"rm -r " + partition.ShellQuote(d.dir),
		}, "\n  "))
	return nil
}

// prepare writes the table, as another engine could have left it, and the change file.
func (d *demo) prepare(ctx context.Context) error {
	if entries, err := os.ReadDir(d.dir); err == nil && len(entries) > 0 {
		return usageError{fmt.Errorf("%s is not empty", d.dir), "name a new folder: " + d.line(0, []string{"demo", "DIR"})}
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	bytes, err := orders.WriteTable(ctx, d.table())
	if err != nil {
		return err
	}
	lines, err := orders.WriteChanges(d.changes())
	if err != nil {
		return err
	}
	d.say(fmt.Sprintf("%s: %s order lines in %d partitions, %d files, %s\n%s: %s changes",
		d.table(), count(orders.Days*orders.LinesPerDay), orders.Days, orders.Days*orders.FilesPerDay, size(bytes), d.changes(), count(lines)))
	return nil
}

// step prints a command line and runs it.
func (d *demo) step(ctx context.Context, say string, args []string) error {
	d.say("\n# " + say + "\n$ " + d.line(len("$ "), args))
	inner := &session{name: d.name, stdin: strings.NewReader(""), stdout: d.stdout, stderr: d.stderr, asksJSON: d.logsJSON()}
	if d.quiet {
		args = append(args, "--quiet")
	}
	if d.noProgress {
		args = append(args, "--no-progress")
	}
	return inner.execute(ctx, args)
}

func (d *demo) say(text string) {
	if !d.quiet {
		fmt.Fprintln(d.stdout, text)
	}
}

// lastRun is the run whose version is live.
func (d *demo) lastRun(ctx context.Context, part string) (string, error) {
	table, err := partition.Open(ctx, d.table(), partition.Config{})
	if err != nil {
		return "", err
	}
	versions, err := table.History(ctx, part)
	if err != nil {
		return "", err
	}
	for _, v := range versions {
		if v.Live {
			return v.Run, nil
		}
	}
	return "", fmt.Errorf("%s: no live version", part)
}
