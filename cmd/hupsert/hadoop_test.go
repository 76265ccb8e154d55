package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/swap"
)

// TestHadoopScripts runs the scenarios of testdata/hadoop on an HDFS and a Hive Metastore. Beside the commands of
// TestScripts they use
//
//	service COMMAND...              a command of the services; what begins as $HDFS is a path there
//	answers REGEXP COMMAND...       is true of what it answers; of a path that ends in * the first file is meant
//	hivetable NAME URL COLS PARTS   makes a table of the script's database, whose files are at URL
//	hivepartition TABLE NAME URL [orc] [NAME=VALUE]
//	                                registers a partition of it there, of another format or with a parameter
//	hiveset TABLE NAME URL          sets its location, as a program does that writes back what it has read before
//	analyse TABLE PARTITION         gives its column id statistics, as ANALYZE TABLE does
//	analysed N TABLE PARTITION      of N of its columns there are statistics, and as many count as exact
//	push FILE URL                   copies a file to HDFS
//	pull URL DIR                    copies a folder of HDFS, in the place of what DIR was
//	locations HIVEURL DIR           copies the folders of a table's registered partitions, each by its partition's name
//	stagedNothing URL               nothing is staged for a table, and no file of its own or its state's is open
//
// and know
//
//	$HDFS       a folder of their own, which everybody may write to
//	$NAMENODE   the cluster's URL
//	$HIVE       hive://host:port/database, for a dot and a table's name
//	$METASTORE  host:port of it
//	$CONF       a folder of settings for both
func TestHadoopScripts(t *testing.T) {
	hadoopScripts(t, "testdata/hadoop", servicetest.Shared(t))
}

// TestKerberosScripts runs those of testdata/kerberos on services that let nobody in without a ticket. They know as well
// $KEYTAB, $REALM and, as variable of its own name, KRB5_CONFIG.
func TestKerberosScripts(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Metastore: true, Kerberos: true})
	t.Setenv("KRB5_CONFIG", s.KRB5Conf) // of hivetable
	hadoopScripts(t, "testdata/kerberos", s)
}

func hadoopScripts(t *testing.T, dir string, s *servicetest.Services) {
	commands := maps.Clone(scriptCommands)
	c := cluster{s}
	commands["service"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if _, err := c.do(args); (err != nil) != neg {
			ts.Fatalf("%v: %v", args, err)
		}
	}
	commands["answers"] = func(ts *testscript.TestScript, neg bool, args []string) {
		answer, err := c.do(args[1:])
		ts.Check(err)
		if regexp.MustCompile(args[0]).MatchString(answer) == neg {
			ts.Fatalf("%v: %s", args, answer)
		}
	}
	commands["hiveset"] = func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Check(hive(ts, s, args[0], func(m *metastore.Client, t *metastore.Table) error { return setLocation(m, t, args[1], args[2]) }))
	}
	commands["analyse"] = func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Check(hive(ts, s, args[0], func(m *metastore.Client, t *metastore.Table) error {
			return m.Analyse(context.Background(), t, args[1], "id", 1, 9)
		}))
	}
	commands["analysed"] = func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Check(hive(ts, s, args[1], func(m *metastore.Client, t *metastore.Table) error { return analysed(m, t, args[2], args[0]) }))
	}
	commands["hivetable"] = func(ts *testscript.TestScript, _ bool, args []string) {
		_, database, _ := strings.Cut(strings.TrimPrefix(ts.Getenv("HIVE"), "hive://"), "/")
		ts.Check(hiveTable(s, metastore.NewTable{
			Database: database, Name: args[0], Location: args[1], Columns: hiveColumns(args[2]), PartitionBy: hiveColumns(args[3]),
			Parameters: map[string]string{metastore.ParamKey: "id"},
		}))
	}
	commands["hivepartition"] = func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Check(hive(ts, s, args[0], func(m *metastore.Client, t *metastore.Table) error {
			return m.AddPartitionsAs(context.Background(), t, map[string]metastore.NewPartition{args[1]: newPartition(args[2:])})
		}))
	}
	maps.Copy(commands, folderCommands(s))
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		UpdateScripts:       false, // they name ports
		Setup: func(e *testscript.Env) error {
			e.Values[snapshots{}] = map[string]string{}
			for name, value := range map[string]string{
				"HOME": e.WorkDir, "HDFS": s.HDFS + s.Folder(t), "NAMENODE": s.HDFS, "HIVE": "hive://" + s.Metastore + "/" + s.Database(t),
				"METASTORE": s.Metastore, "CONF": s.ConfDir, "KEYTAB": s.Keytab, "REALM": s.Realm, "KRB5_CONFIG": s.KRB5Conf,
			} {
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: commands,
	})
}

// dialHive connects to the metastore, by Kerberos as alice.
func dialHive(s *servicetest.Services) (*metastore.Client, error) {
	c := metastore.Config{Hosts: []string{s.Metastore}, User: "root"}
	if s.Realm != "" {
		who := hadoop.Credentials{Keytab: s.Keytab, Principal: "alice@" + s.Realm}
		c.Kerberos = who.Ticket
	}
	return metastore.Dial(context.Background(), c)
}

func hiveTable(s *servicetest.Services, table metastore.NewTable) error {
	m, err := dialHive(s)
	if err != nil {
		return err
	}
	defer m.Close()
	return m.CreateTable(context.Background(), table)
}

// hive does something with a table of a script's database.
func hive(ts *testscript.TestScript, s *servicetest.Services, table string, f func(*metastore.Client, *metastore.Table) error) error {
	m, err := dialHive(s)
	if err != nil {
		return err
	}
	defer m.Close()
	_, database, _ := strings.Cut(strings.TrimPrefix(ts.Getenv("HIVE"), "hive://"), "/")
	t, err := m.Table(context.Background(), database, table)
	if err != nil {
		return err
	}
	return f(m, t)
}

// newPartition reads what hivepartition says of one: URL [orc] [NAME=VALUE].
func newPartition(args []string) metastore.NewPartition {
	p := metastore.NewPartition{Location: args[0]}
	for _, word := range args[1:] {
		if name, value, ok := strings.Cut(word, "="); ok {
			p.Parameters = map[string]string{name: value}
			continue
		}
		const orc = "org.apache.hadoop.hive.ql.io.orc."
		p.Format = metastore.Format{SerDe: orc + "OrcSerde", Input: orc + "OrcInputFormat", Output: orc + "OrcOutputFormat"}
	}
	return p
}

// setLocation has the metastore say another folder for a partition.
func setLocation(m *metastore.Client, t *metastore.Table, partition, url string) error {
	r := m.Registry(t, metastore.RegistryOptions{})
	now, err := r.Look(context.Background(), []string{partition})
	if err != nil {
		return err
	}
	folder, err := r.Folder(partition, url)
	if err != nil {
		return err
	}
	return r.Point(context.Background(), []swap.Pointer{{Partition: partition, Was: now[partition].Folder, Folder: folder, Run: "somebody", Rows: -1}})
}

// analysed holds the statistics of a partition's column id against how many there should be.
func analysed(m *metastore.Client, t *metastore.Table, partition, want string) error {
	n, err := m.Analysed(context.Background(), t, partition, "id")
	if err != nil {
		return err
	}
	list, err := m.Partitions(context.Background(), t, []string{partition})
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return fmt.Errorf("%s is not registered", partition)
	}
	if exact := strings.Contains(list[0].Parameters["COLUMN_STATS_ACCURATE"], "COLUMN_STATS"); strconv.Itoa(n) != want || exact != (n > 0) {
		return fmt.Errorf("%d columns of %s have statistics, and they count as exact: %t", n, partition, exact)
	}
	return nil
}

// hiveColumns reads "id:bigint,v:string".
func hiveColumns(text string) (columns []metastore.Column) {
	for _, column := range strings.Split(text, ",") {
		name, kind, _ := strings.Cut(column, ":")
		columns = append(columns, metastore.Column{Name: name, Type: kind})
	}
	return columns
}
