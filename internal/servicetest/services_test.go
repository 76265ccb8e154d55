package servicetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// Commands are carried out, and fail by their reason.
func TestCommands(t *testing.T) {
	s := Shared(t)
	folder := s.Folder(t)
	s.Do(t, "put "+folder+"/file 100000")
	if got, want := s.Do(t, "count "+folder), "1 1 100000"; got != want {
		t.Errorf("count is %q, want %q", got, want)
	}
	if _, err := s.Try("stat " + folder + "/absent"); err == nil || !strings.Contains(err.Error(), "FileNotFoundException") {
		t.Errorf("stat of an absent file: %v", err)
	}
	if _, err := s.Try("no-such-command"); err == nil || !strings.Contains(err.Error(), "no such command") {
		t.Errorf("an unknown command: %v", err)
	}
	database := s.Database(t)
	if _, err := s.Try("database " + database); err == nil || !strings.Contains(err.Error(), "AlreadyExistsException") {
		t.Errorf("a database made twice: %v", err)
	}
}

// What was acknowledged is there after a kill as after an orderly end, at the same addresses.
func TestRestart(t *testing.T) {
	s := Start(t, Options{Metastore: true})
	hdfs, metastore := s.HDFS, s.Metastore
	folder, database := s.Folder(t), s.Database(t)
	s.Do(t, "put "+folder+"/file 100000")
	md5 := s.Do(t, "md5 "+folder+"/file")
	for name, end := range map[string]func(testing.TB){"killed": s.Kill, "stopped": s.Stop} {
		end(t)
		s.Restart(t)
		if s.HDFS != hdfs || s.Metastore != metastore {
			t.Errorf("%s: restarted at %s and %s, were at %s and %s", name, s.HDFS, s.Metastore, hdfs, metastore)
		}
		if got := s.Do(t, "md5 "+folder+"/file"); got != md5 {
			t.Errorf("%s: after the restart the file's content is %s, was %s", name, got, md5)
		}
		if _, err := s.Try("database " + database); err == nil || !strings.Contains(err.Error(), "AlreadyExistsException") {
			t.Errorf("%s: the database is gone: %v", name, err)
		}
	}
}

// Each version of the metastore answers, keeps its data over a kill, and takes Kerberos.
func TestMetastores(t *testing.T) {
	for _, version := range []string{"2.3", "4.0"} {
		t.Run(version, func(t *testing.T) {
			address, s := StartMetastore(t, version, Options{})
			listens(t, address)
			database := s.Database(t)
			s.Kill(t)
			s.Restart(t)
			if s.Metastore != address {
				t.Errorf("restarted at %s, was at %s", s.Metastore, address)
			}
			if _, err := s.Try("database " + database); err == nil || !strings.Contains(err.Error(), "AlreadyExistsException") {
				t.Errorf("the database is gone: %v", err)
			}
		})
	}
}

func TestHighAvailability(t *testing.T) {
	s := Start(t, Options{HA: true, Datanodes: 2})
	if len(s.Namenodes) != 2 || s.HDFS != "hdfs://ns1" {
		t.Fatalf("namenodes %v of %s", s.Namenodes, s.HDFS)
	}
	for _, namenode := range s.Namenodes {
		listens(t, namenode)
	}
	s.Do(t, "put /a 1000")
	for _, name := range []string{"1", "2", "3"} {
		s.Do(t, "put /gone/"+name+" 1000")
	}
	md5 := s.Do(t, "md5 /a")
	s.Do(t, "standby 0")
	s.Do(t, "active 1")
	s.Do(t, "stopnn 0")
	// Their blocks are gone before the namenode that has missed their removal is back.
	s.Do(t, "rm /gone")
	s.awaitBlocks(t, 2)
	if got := s.Do(t, "md5 /a"); got != md5 {
		t.Errorf("after the failover the content is %s, was %s", got, md5)
	}
	s.Do(t, "stopdn 0")
	if got := s.Do(t, "md5 /a"); got != md5 {
		t.Errorf("without a datanode the content is %s, was %s", got, md5)
	}
	s.Do(t, "startdn 0")
	s.Do(t, "startnn 0")
}

// awaitBlocks waits until so many replicas lie on the datanodes' disks.
func (s *Services) awaitBlocks(t *testing.T, want int) {
	t.Helper()
	for until := time.Now().Add(commandTimeout); ; <-time.After(50 * time.Millisecond) {
		checksums, err := filepath.Glob(filepath.Join(s.Dir, "data", "data*", "current", "BP-*", "current", "finalized", "*", "*", "blk_*.meta"))
		if err != nil {
			t.Fatal(err)
		}
		if len(checksums) == want {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%d replicas on the disks, want %d", len(checksums), want)
		}
	}
}

func TestKerberos(t *testing.T) {
	s := Start(t, Options{Kerberos: true, Metastore: true, Protection: "privacy"})
	s.Do(t, "put /a 1000")
	s.Do(t, "md5 /a")
	cache := filepath.Join(t.TempDir(), "cache")
	s.Do(t, "kinit alice "+cache+" 3600")
	for _, file := range []string{cache, s.Keytab, s.KRB5Conf} {
		if info, err := os.Stat(file); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	listens(t, s.Metastore)
	for _, version := range []string{"2.3", "4.0"} {
		address, m := StartMetastore(t, version, Options{On: s, Kerberos: true})
		listens(t, address)
		m.Do(t, "database of_"+strings.ReplaceAll(version, ".", "_"))
	}
}

// What listens, listens on the loopback interface.
func TestLoopback(t *testing.T) {
	s := Shared(t)
	for _, address := range append(s.Namenodes, s.Metastore) {
		listens(t, address)
	}
	out, err := exec.CommandContext(t.Context(), "ss", "-Hltnp").Output()
	if err != nil {
		t.Skip("no ss here that says who listens")
	}
	own := 0
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, fmt.Sprintf("pid=%d,", s.PID)) {
			continue
		}
		own++
		if address := strings.Fields(line)[3]; !strings.Contains(address, "127.0.0.1") && !strings.HasPrefix(address, "[::1]") {
			t.Errorf("the services listen on %s", address)
		}
	}
	if own == 0 {
		t.Errorf("the services listen nowhere:\n%s", out)
	}
}

func listens(t *testing.T, address string) {
	t.Helper()
	var dialer net.Dialer
	connection, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	connection.Close()
}
