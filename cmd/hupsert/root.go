package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hupsert/hupsert/partition"
	jobfile "github.com/hupsert/hupsert/partition/job"
)

// session is one call of the command: its streams and the flags that every command has.
type session struct {
	name   string   // as the user called us, for lines that can be repeated
	args   []string // the command line
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer

	output     string
	quiet      bool
	verbose    bool
	logFormat  string
	noProgress bool
	about      *subject
	asksJSON   bool   // the command line has --log-format json, which may not be parsed yet
	parting    string // is said after the errors: the command that does what is left, in lines
	// retryCommand is the same command in one line.
	retryCommand string
	last         context.Context // outlives the first signal, and ends with the second
	decided      bool            // an interruption does not take the place of the error
	stateDir     string
	hadoop       partition.Hadoop
}

// secondSignal is how long after the first a signal is taken for the same one.
const secondSignal = 2 * time.Second

// run executes one command line and returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := &session{name: args[0], stdin: stdin, stdout: stdout, stderr: screenOf(stderr)}
	if filepath.Dir(s.name) == "." {
		s.name = filepath.Base(s.name)
	}
	ctx, last, stop := interruptions()
	defer stop()
	s.last = last
	err := profiled(os.Getenv(profileVariable), func() error { return s.execute(ctx, args[1:]) })
	if err != nil && ctx.Err() != nil && !s.decided {
		err = ctx.Err() // what came of the interruption is not worth telling
	}
	s.complain(err)
	s.part()
	return exitCode(err)
}

// interruptions gives contexts that signals end. The first signal ends ctx: it asks the library to undo what is not committed. One that
// comes later ends last, in which those are told who are told of an interruption, and then the process, which is safe as well:
// recover finishes what it left. Not one that comes at the same moment: a terminal and a wrapper such as timeout or make
// often send both.
func interruptions() (ctx, last context.Context, stop func()) {
	ctx, interrupt := context.WithCancel(context.Background())
	last, end := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			interrupt()
		case <-last.Done():
			return
		}
		first := time.Now()
		for {
			select {
			case again := <-signals:
				if time.Since(first) < secondSignal {
					continue
				}
				end()
				<-time.After(lastWords)
				signal.Reset(again)
				_ = syscall.Kill(os.Getpid(), again.(syscall.Signal)) // to oneself it can't fail
				return
			case <-last.Done():
				return
			}
		}
	}()
	return ctx, last, func() {
		signal.Stop(signals)
		interrupt()
		end()
	}
}

// lastWords is how long the process lives on after the second signal, so that the programs that it began end with it.
const lastWords = 100 * time.Millisecond

// execute runs one command line in this session. The demo comes back here for each of its steps.
func (s *session) execute(ctx context.Context, args []string) error {
	s.args = args
	s.asksJSON = s.asksJSON || asksForJSON(args)
	root := s.rootCommand()
	if err := checkCommand(root, args); err != nil {
		return err
	}
	root.SetArgs(args)
	root.SetIn(s.stdin)
	root.SetOut(s.stdout)
	root.SetErr(s.stderr)
	return root.ExecuteContext(ctx)
}

func (s *session) rootCommand() *cobra.Command {
	s.about = new(subject)
	root := &cobra.Command{
		Use:   "hupsert COMMAND TABLE [flags]",
		Short: "Upsert into plain Hive-partitioned Parquet tables, atomically",
		Long: `Merges new, corrected and deleted rows into the partitions of a plain Parquet
table on one machine, and switches each partition atomically: readers see the
old rows or the new ones, never a mix. Earlier versions are kept until vacuum,
so that any run can be rolled back.

TABLE is the folder that holds the partitions (key=value folders), or a folder
with Parquet files where the table has none: a path, or hdfs://nn:8020/path. A
table of a Hive Metastore is hive://host:9083/db.table.`,
		Example: `  hupsert demo
  hupsert config ./orders --set key=order_id --set order-by=updated_at
  hupsert plan   ./orders --from new.parquet
  hupsert upsert ./orders --from new.parquet`,
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		SilenceErrors:              true,
		Args:                       knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if strings.Contains(cmd.Use, "TABLE") && len(args) > 0 {
				s.about.set(args[0], "")
			}
			return s.validate()
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	f := root.PersistentFlags()
	f.StringVar(&s.output, "output", "text", "`FORMAT` of results: text or json")
	f.BoolVar(&s.quiet, "quiet", false, "print errors and nothing else (with --output json: errors and the result)")
	f.BoolVar(&s.verbose, "verbose", false, "log each file, list every partition")
	f.StringVar(&s.logFormat, "log-format", "text", "`FORMAT` of log lines on standard error: text or json")
	f.BoolVar(&s.noProgress, "no-progress", false, "no progress bar")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{err, nearFlag(cmd, err) + cmd.CommandPath() + " --help"}
	})
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", lineWidth)))
	root.AddCommand(
		s.upsertCommand(), s.backfillCommand(), s.planCommand(), s.diffCommand(), s.compareCommand(), s.checkCommand(), s.compactCommand(),
		s.showCommand(), s.historyCommand(), s.reportCommand(), s.rollbackCommand(), s.publishCommand(), s.discardCommand(), s.recoverCommand(),
		s.vacuumCommand(), s.configCommand(), s.runCommand(), s.jobCommand(), s.demoCommand(),
		s.versionCommand(), s.completionCommand())
	return root
}

// checkCommand looks for a misspelt command before its flags are parsed: they would be unknown, too,
// and that would be told first.
func checkCommand(root *cobra.Command, args []string) error {
	root.InitDefaultHelpCmd()
	cmd, _, err := root.Find(args)
	if len(args) == 0 || err != nil || cmd != root || strings.HasPrefix(args[0], "__") {
		return nil //nolint:nilerr // the execution says what is wrong, or it is a shell that completes
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.AddFlagSet(root.PersistentFlags())
	flags.ParseErrorsAllowlist.UnknownFlags = true
	if err := flags.Parse(args); err != nil {
		return nil //nolint:nilerr // the same
	}
	return knownCommand(root, flags.Args())
}

// nearFlag asks whether another flag was meant than one that is unknown.
func nearFlag(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := jobfile.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return "did you mean --" + near + "? "
	}
	return ""
}

// knownCommand is the check of what stands where a command is expected.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := cmd.CommandPath() + " --help lists the commands"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{fmt.Errorf("there is no command %q", args[0]), hint}
}

func (s *session) validate() error {
	if s.output != "text" && s.output != "json" {
		return usagef("--output %s: want text or json", s.output)
	}
	if s.logFormat != "text" && s.logFormat != "json" {
		return usagef("--log-format %s: want text or json", s.logFormat)
	}
	return nil
}

// tableArgument is the check of a command that takes exactly a table.
func tableArgument(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 1:
		return nil
	case 0:
		return usageError{errors.New("which table? Give its folder: " + cmd.CommandPath() + " TABLE"), cmd.CommandPath() + " --help"}
	}
	return usageError{fmt.Errorf("one table at a time: %q is too much", args[1]), cmd.CommandPath() + " --help"}
}

// tableFlags adds what every command on a table has: where its state is, and how clusters are reached.
func (s *session) tableFlags(cmd *cobra.Command) {
	bindFields(cmd.Flags(), jobfile.PlaceFields(&s.stateDir, &s.hadoop))
}

// logger writes to standard error: warnings, and with --verbose everything. With --log-format json
// the start and end of each partition are logged as well, since a machine reads along.
func (s *session) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelWarn}
	switch {
	case s.quiet:
		o.Level = slog.LevelError
	case s.verbose:
		o.Level = slog.LevelDebug
	case s.logsJSON():
		o.Level = slog.LevelInfo
	}
	if s.logsJSON() {
		return slog.New(s.jsonLines(o.Level.Level()))
	}
	return slog.New(slog.NewTextHandler(s.stderr, o))
}

// configure fills what every command tells the library.
func (s *session) configure(c *partition.Config) {
	c.StateDir, c.Logger, c.Hadoop, c.Observer = s.stateDir, s.logger(), s.hadoop, s.about.observe
}

// open opens a table for a command that needs nothing but it.
func (s *session) open(ctx context.Context, name string) (*partition.Table, error) {
	var c partition.Config
	s.configure(&c)
	return partition.Open(ctx, name, c)
}
