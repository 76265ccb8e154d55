package hdfs

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
)

// TestRefused: what the client library would read or write wrongly is refused before it does.
func TestRefused(t *testing.T) {
	s := servicetest.Shared(t)
	f, dir := shared(t)
	ec, zone := path.Join(dir, "ec"), path.Join(dir, "zone")
	s.Do(t, "ec "+ec+" XOR-2-1-1024k")
	s.Do(t, "mkzone "+zone+" key")
	s.Do(t, "put "+path.Join(zone, "f")+" 1000")
	for _, err := range []error{
		write(t.Context(), f, path.Join(ec, "f"), []byte("x")),
		write(t.Context(), f, path.Join(zone, "g"), []byte("x")),
		func() error { _, err := f.Open(t.Context(), path.Join(zone, "f")); return err }(),
	} {
		if !errors.Is(err, storage.ErrUnsafe) {
			t.Errorf("not refused: %v", err)
		}
	}
	if list, err := f.List(t.Context(), ec); len(list) != 0 || err != nil {
		t.Errorf("left there: %v, %v", list, err)
	}
	put(t, f, path.Join(dir, "plain"), []byte("x"))
	if err := f.Rename(t.Context(), path.Join(dir, "plain"), path.Join(zone, "plain")); err == nil {
		t.Error("a file was moved into an encryption zone")
	}
	for _, conf := range []map[string]string{
		{"dfs.data.transfer.protection": "privacy"}, {"dfs.data.transfer.protection": "integrity,privacy"}, {"dfs.encrypt.data.transfer": "true"},
	} {
		_, err := Open(Options{Address: f.Address(), Conf: hadoop.Of(conf)})
		if !errors.Is(err, storage.ErrUnsafe) || !strings.Contains(err.Error(), "dfs.data.transfer.protection") {
			t.Errorf("%v: %v", conf, err)
		}
	}
}

// TestLimits: what a namenode does not allow is the error that callers know, with what the namenode says.
func TestLimits(t *testing.T) {
	s := servicetest.Shared(t)
	f, dir := shared(t)
	bob, _ := connect(t, s, func(o *Options) { o.Credentials.User = "bob" })
	ctx := t.Context()
	full, closed, sticky := path.Join(dir, "full"), path.Join(dir, "closed"), path.Join(dir, "sticky")
	s.Do(t, "mkdir "+full+" 777")
	s.Do(t, "mkdir "+closed+" 755")
	s.Do(t, "mkdir "+sticky+" 1777")
	s.Do(t, "mkdir "+path.Join(dir, "open")+" 777")
	put(t, f, path.Join(closed, "f"), []byte("x"))
	put(t, f, path.Join(sticky, "f"), []byte("x"))
	put(t, f, path.Join(full, "f"), []byte("x"))
	s.Do(t, "quota "+full+" 3 -1")
	for what, c := range map[string]struct{ got, want error }{
		"quota of names":     {errors.Join(write(ctx, f, path.Join(full, "g"), nil), write(ctx, f, path.Join(full, "h"), nil)), syscall.EDQUOT},
		"create":             {write(ctx, bob, path.Join(closed, "g"), nil), fs.ErrPermission},
		"mkdir":              {bob.Mkdir(ctx, path.Join(closed, "g"), 0o755), fs.ErrPermission},
		"remove":             {bob.Remove(ctx, path.Join(closed, "f")), fs.ErrPermission},
		"rename":             {bob.Rename(ctx, path.Join(closed, "f"), path.Join(dir, "open/f")), fs.ErrPermission},
		"may move":           {bob.MayMove(ctx, path.Join(closed, "f"), path.Join(dir, "open")), fs.ErrPermission},
		"may move into":      {bob.MayMove(ctx, path.Join(sticky, "f"), closed), fs.ErrPermission},
		"may leave":          {bob.MayMove(ctx, path.Join(sticky, "f"), path.Join(dir, "open")), fs.ErrPermission},
		"does leave":         {bob.Rename(ctx, path.Join(sticky, "f"), path.Join(dir, "open/f")), fs.ErrPermission},
		"superuser":          {f.MayMove(ctx, path.Join(sticky, "f"), path.Join(dir, "open")), nil},
		"owner":              {bob.SetAttr(ctx, path.Join(sticky, "f"), storage.Attr{Owner: new(string)}), fs.ErrPermission},
		"colon":              {f.Mkdir(ctx, path.Join(dir, "a:b"), 0o755), syscall.EINVAL},
		"below a file":       {write(ctx, f, path.Join(closed, "f/g"), nil), syscall.ENOTDIR},
		"long name":          {f.Mkdir(ctx, path.Join(dir, strings.Repeat("x", 300)), 0o755), syscall.ENAMETOOLONG},
		"folder that is not": {f.Rename(ctx, path.Join(closed, "f"), path.Join(dir, "no/f")), fs.ErrNotExist},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v", what, c.got)
		}
	}
	if err := write(ctx, bob, path.Join(closed, "g"), nil); !strings.Contains(err.Error(), "user=bob") {
		t.Errorf("who may not is not said: %v", err)
	}
	s.Do(t, "quota "+full+" -1 100000")
	if err := write(ctx, f, path.Join(full, "space"), noise(1000)); !errors.Is(err, syscall.EDQUOT) {
		t.Errorf("quota of space: %v", err)
	}
	if err := f.Remove(ctx, path.Join(full, "space")); err != nil {
		t.Error(err)
	}
	if left := s.Do(t, "leases "+dir); left != "" {
		t.Errorf("open still: %s", left)
	}
}

// TestACL: an access control list is seen, and carried over with what it hands down.
func TestACL(t *testing.T) {
	s := servicetest.Shared(t)
	f, dir := shared(t)
	ctx := t.Context()
	for _, c := range []struct{ name, acl string }{
		{"access", "user:bob:rwx,group:etl:r-x"},
		{"default", "default:user:bob:rwx,default:group::r-x"},
		{"both", "user:bob:rw-,mask::r--,default:user:carol:rwx"},
		{"none", ""},
	} {
		from, to := path.Join(dir, c.name), path.Join(dir, c.name+".to")
		for _, n := range []string{from, to} {
			if err := f.Mkdir(ctx, n, 0o750); err != nil {
				t.Fatal(err)
			}
		}
		if c.acl != "" {
			s.Do(t, "acl "+from+" "+c.acl)
		}
		s.Do(t, "acl "+to+" user:nobody:r--")
		old, err := f.Stat(ctx, from)
		if err != nil || old.ACL != (c.acl != "") {
			t.Errorf("%s: %+v, %v", c.name, old, err)
		}
		mode := old.Mode
		if err := f.SetAttr(ctx, to, storage.Attr{Mode: &mode, ACLOf: &from}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if a, b := s.Do(t, "acl "+from), s.Do(t, "acl "+to); a != b {
			t.Errorf("%s: %s became %s", c.name, a, b)
		}
		if now, err := f.Stat(ctx, to); err != nil || now.Mode != old.Mode || now.ACL != old.ACL {
			t.Errorf("%s: %v became %v, %v", c.name, old.Mode, now.Mode, err)
		}
	}
	// Below a folder that hands a list down, modes are those that are asked for.
	handing := path.Join(dir, "default")
	put(t, f, path.Join(handing, "f"), []byte("x"))
	if err := f.Mkdir(ctx, path.Join(handing, "d"), 0o711); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"f": 0o644, "d": fs.ModeDir | 0o711} {
		if i, err := f.Stat(ctx, path.Join(handing, name)); err != nil || i.Mode != want {
			t.Errorf("%s: %v, want %v: %v", name, i.Mode, want, err)
		}
	}
}

// TestNobodyThere: an address at which nobody is ends soon, and says so.
func TestNobodyThere(t *testing.T) {
	p := newProxy(t, "127.0.0.1:1")
	_ = p.Close()
	for _, at := range []string{p.Addr().String(), "no-such-host.invalid:8020"} {
		f, err := Open(Options{Address: Address{Name: at, Namenodes: []string{at}}, Retry: 200 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Stat(t.Context(), "/x")
		if err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(at, ":8020")) {
			t.Errorf("%s: %v", at, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if _, err := f.Stat(t.Context(), "/x"); !errors.Is(err, errClosed) {
			t.Errorf("closed: %v", err)
		}
	}
}
