package main

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/hadoop"
)

// TestHadoopScripts runs the scenarios of testdata/hadoop on an HDFS and a Hive Metastore. Beside the commands of
// TestScripts they use
//
//	service COMMAND...              a command of the services
//	hivetable NAME URL COLS PARTS   makes a table of the script's database, whose files are at URL
//	hivepartition TABLE NAME URL    registers a partition of it there
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
	commands["service"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if _, err := s.Try(strings.Join(args, " ")); (err != nil) != neg {
			ts.Fatalf("%v: %v", args, err)
		}
	}
	commands["hivetable"] = func(ts *testscript.TestScript, _ bool, args []string) {
		_, database, _ := strings.Cut(strings.TrimPrefix(ts.Getenv("HIVE"), "hive://"), "/")
		ts.Check(hiveTable(s, metastore.NewTable{
			Database: database, Name: args[0], Location: args[1], Columns: hiveColumns(args[2]), PartitionBy: hiveColumns(args[3]),
			Parameters: map[string]string{metastore.ParamKey: "id"},
		}))
	}
	commands["hivepartition"] = func(ts *testscript.TestScript, _ bool, args []string) {
		_, database, _ := strings.Cut(strings.TrimPrefix(ts.Getenv("HIVE"), "hive://"), "/")
		ts.Check(hivePartition(s, database, args[0], args[1], args[2]))
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

func hivePartition(s *servicetest.Services, database, table, name, location string) error {
	m, err := dialHive(s)
	if err != nil {
		return err
	}
	defer m.Close()
	t, err := m.Table(context.Background(), database, table)
	if err != nil {
		return err
	}
	return m.AddPartitions(context.Background(), t, map[string]string{name: location})
}

// hiveColumns reads "id:bigint,v:string".
func hiveColumns(text string) (columns []metastore.Column) {
	for _, column := range strings.Split(text, ",") {
		name, kind, _ := strings.Cut(column, ":")
		columns = append(columns, metastore.Column{Name: name, Type: kind})
	}
	return columns
}
