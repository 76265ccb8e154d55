//go:build unix

package docs

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/swap"
)

// TestCommandsOnHadoop does with commands on HDFS and a metastore what TestCommands does with the others: on those that
// `make services` starts, with the addresses that it prints in place of those on the pages.
func TestCommandsOnHadoop(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every command of the pages")
	}
	c := startCluster(t)
	binary := build(t)
	for _, p := range pages(t) {
		if !slices.ContainsFunc(p.commands, onHadoop) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			s := newSandbox(t, binary, c.prepare, "HADOOP_CONF_DIR="+c.conf)
			for _, command := range p.commands {
				if onHadoop(command) {
					s.check(t, command)
				}
			}
		})
	}
}

// cluster is what `make services` prints.
type cluster struct{ hdfs, hive, changes, conf string }

// startCluster runs what `make services` does until the test ends.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv("HUPSERT_SERVICES") == "" {
		if os.Getenv("HUPSERT_REQUIRE") == "all" {
			t.Fatal("HUPSERT_SERVICES is not set")
		}
		t.Skip("HUPSERT_SERVICES is not set: HDFS and the Hive Metastore are not installed (`make engines` installs them)")
	}
	services := filepath.Join(t.TempDir(), "services")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", services, root+"/internal/services").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(services) // it ends by a signal, so that it removes its data
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // it may have ended
		_ = cmd.Wait()
	})
	said, values := "", map[string]string{}
	for lines := bufio.NewScanner(out); !strings.Contains(said, "Ctrl-C ends") && lines.Scan(); {
		said += lines.Text() + "\n"
		if key, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(lines.Text()), "export "), "="); ok && !strings.Contains(key, " ") {
			values[key] = value
		}
	}
	c := &cluster{values["hdfs"], values["hive"], values["changes"], values["HADOOP_CONF_DIR"]}
	if c.hdfs == "" || c.hive == "" || c.changes == "" || c.conf == "" {
		t.Fatalf("the services say\n%s", said)
	}
	return c
}

// prepare puts the cluster in the place of the pages' hosts. Pages begin with a table of their own, by its path and by the
// metastore, so that the tour finds the demo's as `make services` left it.
func (c *cluster) prepare(t *testing.T, s *sandbox) {
	namenode, _, _ := strings.Cut(strings.TrimPrefix(c.hdfs, "hdfs://"), "/")
	address, _, _ := strings.Cut(strings.TrimPrefix(c.hive, "hive://"), "/")
	own := filepath.Base(filepath.Dir(s.dir)) + strings.ToLower(strings.NewReplacer("/", "_", ".", "_").Replace(filepath.Base(filepath.Dir(filepath.Dir(s.dir)))))
	path, hive := "hdfs://"+namenode+"/daily/"+own, "hive://"+address+"/shop.d"+own
	s.names["hdfs://nn:8020/warehouse/orders"] = path
	s.names["hive://metastore:9083/shop.orders"] = hive
	s.names["hdfs://localhost:28775"] = "hdfs://" + namenode
	s.names["hive://localhost:29673"] = "hive://" + address
	c.createTable(t, address, "d"+own, "hdfs://"+namenode+"/warehouse/shop/d"+own)
	old, changes := csv("1.50", "1", "2", "3"), csv("2.50", "3", "4")
	s.run(t, functions+"table "+path+" "+old+"parquet old.parquet "+old+"parquet day.parquet "+changes+"parquet changes.parquet "+csv("3.50", "4", "5")+
		"hupsert upsert "+hive+" --from old.parquet --publish rename --quiet")

	// Who set a partition back is another program, which has read it before the last upsert.
	setBack := func(t *testing.T) {
		s.run(t, "hupsert upsert "+hive+" --from day.parquet --ignore-set-back --quiet; hupsert upsert "+hive+" --from changes.parquet --quiet")
		s.last = runName.FindString(s.run(t, "hupsert history "+hive+" --partition dt=2026-11-20 | grep live"))
		s.names[" RUN "] = " " + s.last + " "
		c.setLocation(t, address, "d"+own, "dt=2026-11-20", "hdfs://"+namenode+"/warehouse/shop/d"+own+"/dt=2026-11-20")
		if _, _, err := s.do(t.Context(), "hive="+hive); err != nil {
			t.Fatal(err)
		}
		if said, code, err := s.do(t.Context(), "hupsert upsert "+hive+" --from changes.parquet"); err != nil || code != 4 || !strings.Contains(said, s.last) {
			t.Fatalf("an upsert of a partition that was set back: exit code %d, %v\n%s", code, err, said)
		}
	}
	s.before["hupsert rollback $hive --partition dt=2026-11-20 --to RUN"] = setBack
	s.before["hupsert upsert $hive --from changes.parquet --ignore-set-back"] = setBack
}

// with does something with the metastore.
func (c *cluster) with(t *testing.T, address string, f func(context.Context, *metastore.Client) error) {
	t.Helper()
	m, err := metastore.Dial(t.Context(), metastore.Config{Hosts: []string{address}, User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := f(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

// createTable registers a table of the columns of other pages' orders.
func (c *cluster) createTable(t *testing.T, address, name, location string) {
	t.Helper()
	c.with(t, address, func(ctx context.Context, m *metastore.Client) error {
		table := metastore.NewTable{
			Database: "shop", Name: name, Location: location, PartitionBy: []metastore.Column{{Name: "dt", Type: "date"}},
			Parameters: map[string]string{metastore.ParamKey: "order_id"},
		}
		for column := range strings.SplitSeq(strings.Replace(columns, "10,2", "10;2", 1), ", ") {
			name, kind, _ := strings.Cut(column, " ")
			table.Columns = append(table.Columns, metastore.Column{Name: name, Type: strings.Replace(kind, ";", ",", 1)})
		}
		return m.CreateTable(ctx, table)
	})
}

// setLocation has the metastore say another folder for a partition.
func (c *cluster) setLocation(t *testing.T, address, name, partition, url string) {
	t.Helper()
	c.with(t, address, func(ctx context.Context, m *metastore.Client) error {
		table, err := m.Table(ctx, "shop", name)
		if err != nil {
			return err
		}
		r := m.Registry(table, metastore.RegistryOptions{})
		now, err := r.Look(ctx, []string{partition})
		if err != nil {
			return err
		}
		folder, err := r.Folder(partition, url)
		if err != nil {
			return err
		}
		return r.Point(ctx, []swap.Pointer{{Partition: partition, Was: now[partition].Folder, Folder: folder, Run: "somebody", Rows: -1}})
	})
}
