// Command services gives a person what the tests have: an HDFS and a Hive Metastore 3.1 on this machine, with the
// demo's table in them. It prints where they are and what to try, and ends with Ctrl-C, and all data with it.
// `make services` starts it with what it needs.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/template"

	"github.com/hupsert/hupsert/internal/orders"
	"github.com/hupsert/hupsert/internal/servicetest"
)

func main() {
	binary := flag.String("binary", "hupsert", "the command, as it is to be printed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *binary, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "services:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, out io.Writer) error {
	fmt.Fprintln(out, "Starting an HDFS and a Hive Metastore, which takes about ten seconds ...")
	s, err := servicetest.Launch(servicetest.Options{Metastore: true})
	if err != nil {
		return err
	}
	defer s.Close()
	t, err := load(ctx, s)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	t.Binary, t.ConfDir = binary, s.ConfDir
	if err := text.Execute(out, t); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "\nended, with all data")
		return nil
	case <-s.Done():
		return fmt.Errorf("the services have ended by themselves; their last words:\n%s", s.Log())
	}
}

// text is what is printed when all is there. Scripts read the lines with an equals sign.
var text = template.Must(template.New("text").Parse(`
hdfs={{.HDFS}}
hive={{.Hive}}
changes={{.Changes}}

Both are one table: {{.Lines}} order lines in {{.Days}} partitions, and beside it a day of changes. To try, elsewhere:

  {{.Binary}} show {{.HDFS}}
  {{.Binary}} upsert {{.HDFS}} --from {{.Changes}} --key order_id,line_no --order-by updated_at --delete-when deleted
  {{.Binary}} history {{.HDFS}}

The metastore knows the key and the order of versions by the table's properties (hupsert.key, hupsert.order-by), and who
asks it for the table sees a merge at once and whole. Such a merge has partitions lie in other folders from then on, so
that the table is whole by the metastore alone: try this last. After the merge above it finds nothing to do, unless you
undo that one first (its report says how).

  {{.Binary}} show {{.Hive}}
  {{.Binary}} upsert {{.Hive}} --from {{.Changes}} --delete-when deleted
  {{.Binary}} check {{.Hive}}

Other tools find both services by

  export HADOOP_CONF_DIR={{.ConfDir}}

Ctrl-C ends them, and removes the data.
`))

// table is what the text says.
type table struct {
	HDFS, Hive, Changes string
	Lines, Days         int
	Binary, ConfDir     string
}

func newTable(s *servicetest.Services) *table {
	return &table{
		HDFS:    s.HDFS + folder,
		Hive:    "hive://" + s.Metastore + "/" + database + "." + name,
		Changes: s.HDFS + changes(),
		Lines:   orders.Days * orders.LinesPerDay,
		Days:    orders.Days,
	}
}
