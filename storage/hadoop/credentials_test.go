package hadoop

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// askedOf writes a krb5.conf whose KDC is at an address, and gives a keytab's credentials.
func askedOf(t *testing.T, kdc string) Credentials {
	t.Helper()
	keys := keytab.New()
	if err := keys.AddEntry("alice", "EXAMPLE.COM", "secret", time.Now(), 1, 18); err != nil {
		t.Fatal(err)
	}
	data, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dir := files(t, map[string]string{
		"krb5.conf": "[libdefaults]\n default_realm = EXAMPLE.COM\n udp_preference_limit = 1\n[realms]\n EXAMPLE.COM = {\n" + kdc + " }\n",
	})
	name := filepath.Join(dir, "keytab")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KRB5_CONFIG", filepath.Join(dir, "krb5.conf"))
	return Credentials{Keytab: name}
}

// kdc answers whoever asks by a function, and gives the line of its address.
func kdc(t *testing.T, answer func(c net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answer(c)
			}()
		}
	}()
	return "  kdc = " + l.Addr().String() + "\n"
}

// refuses answers a request by an error.
func refuses(t *testing.T, code int32) func(net.Conn) {
	t.Helper()
	said := messages.NewKRBError(types.NewPrincipalName(2, "krbtgt/EXAMPLE.COM"), "EXAMPLE.COM", code, "")
	answer, err := said.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return func(c net.Conn) {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
			return
		}
		_, _ = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...)) // whoever is gone wants none
	}
}

// TestSilentKDC: a KDC that does not answer may do so soon, and is told apart from one that refuses, and from one that there
// can't be.
func TestSilentKDC(t *testing.T) {
	for what, c := range map[string]struct {
		kdc    string
		silent bool
		says   string
	}{
		"hangs up":       {kdc(t, func(net.Conn) {}), true, "can it be reached?"},
		"nobody listens": {"  kdc = 127.0.0.1:1\n", true, "can it be reached?"},
		"is not named":   {"", false, ""},
		"has no address": {"  kdc = no-such-host.invalid:88\n", false, "can it be reached?"},
		"refuses":        {kdc(t, refuses(t, errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN)), false, "does not know the principal"},
	} {
		who := askedOf(t, c.kdc)
		_, err := who.Ticket(t.Context(), "hdfs/localhost")
		if !errors.Is(err, ErrLogin) || errors.Is(err, ErrSilent) != c.silent || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestTicketEndsWithItsContext: who waits for a KDC that hangs waits no longer than his context.
func TestTicketEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	who := askedOf(t, kdc(t, func(net.Conn) { <-release }))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := who.Ticket(ctx, "hdfs/localhost"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
