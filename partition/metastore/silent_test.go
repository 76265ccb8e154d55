package metastore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
)

// TestSilentKDC: a KDC that does not answer is waited for as a metastore is, and is what is told where it stays away.
func TestSilentKDC(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	silent := fmt.Errorf("%w: %w: nobody is there; is the kdc the right one?", hadoop.ErrLogin, hadoop.ErrSilent)
	refused := errors.New("no longer silent")
	asked := 0
	conf := Config{Hosts: []string{l.Addr().String()}, RetryFor: 20 * time.Second, Kerberos: func(context.Context, string) (*client.Client, error) {
		if asked++; asked < 3 {
			return nil, silent
		}
		return nil, refused
	}}
	if _, err := Dial(t.Context(), conf); !errors.Is(err, refused) || asked != 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	conf.RetryFor = time.Millisecond
	conf.Kerberos = func(context.Context, string) (*client.Client, error) { return nil, silent }
	_, err = Dial(t.Context(), conf)
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, hadoop.ErrLogin) || e.Hint != "" || !strings.Contains(err.Error(), "is the kdc") {
		t.Errorf("it stays away: %v", err)
	}
}
