package servicetest

import (
	"strings"
	"testing"
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
	t.Run("killed", func(t *testing.T) { restart(t, true) })
	t.Run("stopped", func(t *testing.T) { restart(t, false) })
}

func restart(t *testing.T, killed bool) {
	s := Start(t, Options{Metastore: true})
	hdfs, metastore := s.HDFS, s.Metastore
	folder, database := s.Folder(t), s.Database(t)
	s.Do(t, "put "+folder+"/file 100000")
	md5 := s.Do(t, "md5 "+folder+"/file")
	if killed {
		s.Kill(t)
	} else {
		s.Stop(t)
	}
	s.Restart(t)
	if s.HDFS != hdfs || s.Metastore != metastore {
		t.Errorf("restarted at %s and %s, were at %s and %s", s.HDFS, s.Metastore, hdfs, metastore)
	}
	if got := s.Do(t, "md5 "+folder+"/file"); got != md5 {
		t.Errorf("after the restart the file's content is %s, was %s", got, md5)
	}
	if _, err := s.Try("database " + database); err == nil || !strings.Contains(err.Error(), "AlreadyExistsException") {
		t.Errorf("the database is gone: %v", err)
	}
}
