package servicetest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each command does what Commands.java says, as far as other commands can see it.
func TestFaults(t *testing.T) {
	s := Start(t, Options{Datanodes: 2, Conf: map[string]string{"dfs.blocksize": "65536"}})
	dir := s.Folder(t)
	answers := func(command, want string) {
		t.Helper()
		if got := s.Do(t, command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	fails := func(command string, reasons ...string) {
		t.Helper()
		_, err := s.Try(command)
		if err == nil || !slices.ContainsFunc(reasons, func(reason string) bool { return strings.Contains(err.Error(), reason) }) {
			t.Errorf("%s: %v, want %s", command, err, strings.Join(reasons, " or "))
		}
	}

	s.Do(t, "safemode enter")
	answers("safemode get", "true")
	fails("put "+dir+"/no 1", "SafeModeException")
	s.Do(t, "safemode leave")
	answers("safemode get", "false")

	s.Do(t, "quota "+dir+" 3 -1")
	s.Do(t, "put "+dir+"/1 1")
	s.Do(t, "put "+dir+"/2 1")
	fails("put "+dir+"/3 1", "QuotaExceededException")
	s.Do(t, "quota "+dir+" -1 -1")

	s.Do(t, "acl "+dir+" user:bob:r-x,default:group:staff:rwx")
	if got := s.Do(t, "acl "+dir); !strings.Contains(got, "user:bob:r-x") || !strings.Contains(got, "default:group:staff:rwx") {
		t.Errorf("the access control list is %s", got)
	}
	s.Do(t, "rmacl "+dir)
	answers("acl "+dir, "")

	s.Do(t, "chmod "+dir+" 1750")
	s.Do(t, "chown "+dir+" alice staff")
	if got := s.Do(t, "stat "+dir); !strings.HasPrefix(got, "directory 0 1750 alice staff ") {
		t.Errorf("the folder is %s", got)
	}

	// A file with a space in its name, from this machine.
	local := filepath.Join(t.TempDir(), "local file")
	if err := os.WriteFile(local, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Do(t, "putfile\t"+local+"\t"+dir+"/a file")
	answers("ls "+dir, "1\t2\ta file")
	answers("md5\t"+dir+"/a file", "1cb251ec0d568de6a929b520c4aed8d1")
	s.Do(t, "replication\t"+dir+"/a file\t1")
	s.Do(t, "rm\t"+dir+"/a file")
	answers("ls "+dir, "1\t2")

	s.Do(t, "corrupt "+dir+"/2")
	// The client tries one replica after the other, in an order of its own: the same one twice is its end, three rounds are another.
	fails("md5 "+dir+"/2", "ChecksumException", "BlockMissingException")
	s.Do(t, "rm "+dir+"/2")

	s.Do(t, "mkzone "+dir+"/zone key")
	s.Do(t, "put "+dir+"/zone/file 1000")
	s.Do(t, "ec "+dir+"/coded XOR-2-1-1024k")
	answers("leases "+dir, "")

	s.Do(t, "stopdn 1")
	fails("stopdn 1", "does not run")
	s.Do(t, "md5 "+dir+"/1")
	s.Do(t, "startdn")
	fails("startdn", "all datanodes run")

	s.Do(t, "stopnn 0")
	fails("stat "+dir, "no namenode is active")
	s.Do(t, "startnn 0")
	s.Do(t, "stat "+dir)

	// The settings of a test have reached the servers.
	if got, want := strings.Fields(s.Do(t, "stat "+dir+"/1"))[6], "65536"; got != want {
		t.Errorf("the block size is %s, want %s", got, want)
	}
	fails("kill", "the services have ended")
	fails("stat /", "the services have ended")
}

// A metastore that is down refuses connections, breaks those it had, and comes back at its port.
func TestMetastoreDown(t *testing.T) {
	s := Shared(t)
	var dialer net.Dialer
	before, err := dialer.DialContext(t.Context(), "tcp", s.Metastore)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	s.Do(t, "stopms")
	if err := before.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := before.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection from before: %v", err)
	}
	if c, err := dialer.DialContext(t.Context(), "tcp", s.Metastore); err == nil {
		c.Close()
		t.Error("a metastore that is down can be dialled")
	}
	s.Do(t, "startms")
	listens(t, s.Metastore)
}
