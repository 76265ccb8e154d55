package hdfs

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
)

// TestKerberos: a cluster that lets nobody in without a ticket, by keytab and by ticket cache, and what goes wrong at its door.
func TestKerberos(t *testing.T) {
	lifetime := 12 * time.Second
	s := servicetest.Start(t, servicetest.Options{Kerberos: true, Conf: map[string]string{"max.ticket.lifetime": fmt.Sprint(lifetime.Milliseconds())}})
	t.Setenv("KRB5_CONFIG", s.KRB5Conf)
	cache := filepath.Join(t.TempDir(), "cache")
	t.Setenv("KRB5CCNAME", "FILE:"+cache)
	by := func(c hadoop.Credentials) func(*Options) {
		return func(o *Options) { o.Credentials, o.Retry = c, 2*time.Second }
	}
	data := noise(3 << 20)
	use := func(c hadoop.Credentials) error {
		f, dir := connect(t, s, by(c))
		if err := write(t.Context(), f, path.Join(dir, "f"), data); err != nil {
			return err
		}
		holds(t, f, path.Join(dir, "f"), data)
		i, err := f.Stat(t.Context(), path.Join(dir, "f"))
		if err == nil && i.Owner != "alice" {
			t.Errorf("owner %s", i.Owner)
		}
		return err
	}
	alice := hadoop.Credentials{Keytab: s.Keytab, Principal: "alice@" + s.Realm}
	if err := use(alice); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(lifetime + time.Second)
	fails := func(what string, c hadoop.Credentials, says string) {
		t.Helper()
		started := time.Now()
		err := use(c)
		if !errors.Is(err, hadoop.ErrLogin) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
		t.Logf("%s (%s): %v", what, time.Since(started).Round(time.Millisecond), err)
	}
	fails("no cache", hadoop.Credentials{}, "kinit")
	s.Do(t, "kinit alice "+cache+" 600")
	if err := use(hadoop.Credentials{}); err != nil {
		t.Errorf("by ticket cache: %v", err)
	}
	s.Do(t, "kinit alice "+cache+" 6")
	if err := rest(t.Context(), 6*time.Second); err != nil {
		t.Fatal(err)
	}
	fails("expired", hadoop.Credentials{}, "ended at")
	s.Do(t, "kinit alice "+cache+" 600")
	if err := use(hadoop.Credentials{}); err != nil {
		t.Errorf("after another kinit: %v", err)
	}
	fails("no keytab", hadoop.Credentials{Keytab: "/no/keytab"}, "/no/keytab")
	fails("another principal", hadoop.Credentials{Keytab: s.Keytab, Principal: "carol@" + s.Realm}, "carol")
	fails("which principal", hadoop.Credentials{Keytab: s.Keytab}, "--principal")
	fails("wrong keys", hadoop.Credentials{Keytab: spoiled(t, s.Keytab), Principal: "alice@" + s.Realm}, "keytab")
	if f, _ := connect(t, s, func(o *Options) {
		by(alice)(o)
		o.Conf = hadoop.Of(map[string]string{"dfs.namenode.kerberos.principal": "nn/_HOST"})
	}); true {
		if _, err := f.Stat(t.Context(), "/"); !errors.Is(err, hadoop.ErrLogin) || !strings.Contains(err.Error(), "nn/localhost") {
			t.Errorf("a service that the KDC does not know: %v", err)
		}
	}
	// A long run's login is renewed.
	if err := rest(t.Context(), time.Until(end)); err != nil {
		t.Fatal(err)
	}
	if err := use(alice); err != nil {
		t.Errorf("after the first ticket's end: %v", err)
	}
	t.Run("KDCIsAway", func(t *testing.T) { kdcIsAway(t, s) })
	t.Run("ForgottenLogins", func(t *testing.T) { forgottenLogins(t, s) })
	plain, err := Open(Options{Address: Address{Name: s.Namenodes[0], Namenodes: s.Namenodes}, Retry: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Stat(t.Context(), "/"); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "--keytab") {
		t.Errorf("without Kerberos: %v", err)
	}
}

// door stands before a KDC, and can be shut.
type door struct {
	net.Listener
	to   string
	shut atomic.Bool
}

// doorTo makes a door before the KDC of services, and a krb5.conf that leads through it.
func doorTo(t *testing.T, s *servicetest.Services) *door {
	t.Helper()
	conf, err := os.ReadFile(s.KRB5Conf)
	if err != nil {
		t.Fatal(err)
	}
	kdc := regexp.MustCompile(`\bkdc = (\S+)`)
	at := kdc.FindSubmatch(conf)
	if at == nil {
		t.Fatalf("no KDC in %s", conf)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	d := &door{Listener: l, to: string(at[1])}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go d.serve(c)
		}
	}()
	name := filepath.Join(t.TempDir(), "krb5.conf")
	if err := os.WriteFile(name, kdc.ReplaceAll(conf, []byte("kdc = "+l.Addr().String())), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KRB5_CONFIG", name)
	return d
}

func (d *door) serve(client net.Conn) {
	defer client.Close()
	if d.shut.Load() {
		return
	}
	server, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client) // the client ends it
	}()
	_, _ = io.Copy(client, server) // whoever breaks off is told by his own end
}

// kdcIsAway: a KDC that does not answer for a moment is waited for, costs no login that there is, and is told by its
// name where it stays away.
func kdcIsAway(t *testing.T, s *servicetest.Services) {
	d := doorTo(t, s)
	bob := hadoop.Credentials{Keytab: s.Keytab, Principal: "bob@" + s.Realm}
	by := func(retry time.Duration) *FS {
		f, _ := connect(t, s, func(o *Options) { o.Credentials, o.Retry, o.Clients = bob, retry, 1 })
		return f
	}
	d.shut.Store(true)
	if _, err := by(300*time.Millisecond).Stat(t.Context(), "/"); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, hadoop.ErrLogin) || !strings.Contains(err.Error(), "krb5.conf") {
		t.Errorf("the KDC stays away: %v", err)
	}
	opened := make(chan error)
	f := by(20 * time.Second)
	go func() {
		_, err := f.Stat(t.Context(), "/")
		opened <- err
	}()
	if err := rest(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	d.shut.Store(false)
	if err := <-opened; err != nil {
		t.Errorf("the KDC was away for a moment: %v", err)
	}
	d.shut.Store(true)
	if _, err := bob.Ticket(t.Context(), "HTTP/localhost"); !errors.Is(err, hadoop.ErrSilent) || !errors.Is(err, hadoop.ErrLogin) {
		t.Errorf("another ticket: %v", err)
	}
	if _, err := by(time.Second).Stat(t.Context(), "/"); err != nil {
		t.Errorf("the login that there was is lost: %v", err)
	}
	d.shut.Store(false)
	f.pool.retire(f.pool.slots[0].c)
	if _, err := f.Stat(t.Context(), "/"); err != nil {
		t.Error(err)
	}
}

// forgottenLogins: a login that is given up is not renewed behind our back, and a service that the KDC does not know costs none.
func forgottenLogins(t *testing.T, s *servicetest.Services) {
	bob := hadoop.Credentials{Keytab: s.Keytab, Principal: "bob@" + s.Realm}
	const renewal = "enableAutoSessionRenewal"
	login, err := bob.Kerberos()
	if err != nil {
		t.Fatal(err)
	}
	bob.Forget(login)
	before := running(renewal)
	for range 3 {
		first, err := bob.Kerberos()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bob.Ticket(t.Context(), "nobody/localhost"); !errors.Is(err, hadoop.ErrLogin) || errors.Is(err, hadoop.ErrSilent) {
			t.Errorf("a service that nobody knows: %v", err)
		}
		second, err := bob.Kerberos()
		if err != nil || second != first {
			t.Errorf("a login that is good was given up: %v", err)
		}
		bob.Forget(first)
		bob.Forget(first) // another one who had it
	}
	until(t, "logins that are given up are renewed", func() bool { return running(renewal) <= before })
	third, err := bob.Kerberos()
	if err != nil {
		t.Fatal(err)
	}
	bob.Forget(login) // of long ago
	if now, err := bob.Kerberos(); err != nil || now != third {
		t.Errorf("a login was given up by who had an earlier one: %v", err)
	}
}

// spoiled is a keytab with other keys.
func spoiled(tb testing.TB, name string) string {
	tb.Helper()
	keys, err := keytabWith(name, func(key []byte) { key[0] ^= 1 })
	if err != nil {
		tb.Fatal(err)
	}
	out := filepath.Join(tb.TempDir(), "spoiled.keytab")
	if err := os.WriteFile(out, keys, 0o600); err != nil {
		tb.Fatal(err)
	}
	return out
}

var every = flag.Bool("every", false, "start a cluster for each level of protection")

// TestProtection: datanodes that ask for more than the client library can do are refused with the reason, also where
// our settings do not say it.
func TestProtection(t *testing.T) {
	for _, protection := range []string{"integrity", "privacy"} {
		if protection == "privacy" && !*every {
			continue
		}
		t.Run(protection, func(t *testing.T) {
			s := servicetest.Start(t, servicetest.Options{Kerberos: true, Protection: protection})
			t.Setenv("KRB5_CONFIG", s.KRB5Conf)
			conf := settings(t, s)
			a, _, err := Resolve(s.HDFS, conf)
			if err != nil {
				t.Fatal(err)
			}
			o := Options{Address: a, Conf: conf, Credentials: hadoop.Credentials{Keytab: s.Keytab, Principal: "alice@" + s.Realm}, Retry: time.Second}
			if _, err := Open(o); !errors.Is(err, storage.ErrUnsafe) || !strings.Contains(err.Error(), protection) {
				t.Errorf("by the settings: %v", err)
			}
			o.Conf = hadoop.Of(map[string]string{"hadoop.security.authentication": "kerberos", "dfs.namenode.kerberos.principal": "hdfs/_HOST@" + s.Realm})
			f, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			folder := s.Folder(t)
			s.Do(t, "put "+folder+"/f 100000")
			opened, err := f.Open(t.Context(), folder+"/f")
			if err != nil {
				t.Fatal(err)
			}
			defer opened.Close()
			_, rerr := opened.ReadAt(make([]byte, 90000), 0)
			werr := write(t.Context(), f, folder+"/g", noise(100000))
			t.Logf("read: %v; write: %v", rerr, werr)
			if !errors.Is(rerr, storage.ErrUnsafe) || errors.Is(rerr, storage.ErrUnavailable) || !strings.Contains(rerr.Error(), "dfs.data.transfer.protection") {
				t.Errorf("read: %v", rerr)
			}
		})
	}
}
