package metastore

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
)

// Config says how a metastore is reached.
type Config struct {
	Hosts []string // host:port; tried in turn, from any of them on
	// User is who we say we are, where nobody asks for a proof. "" says nothing: the metastore's own user then.
	User string
	// Kerberos gives a login that has a ticket for a service ("hive/host"): hadoop.Credentials.Ticket. nil: a plain connection.
	Kerberos func(ctx context.Context, service string) (*client.Client, error)
	// Principal is the metastore's own ("hive/_HOST@REALM"; _HOST is the host that is dialled). Only with Kerberos; default hive/_HOST.
	Principal string
	// Timeout is how long a call may take (default 2 minutes); DialTimeout how long a connection may, with its
	// handshake (default 20 s).
	Timeout, DialTimeout time.Duration
	// RetryFor is how long what is safe to repeat is tried, a restart of the metastore long (default 30 s).
	RetryFor time.Duration
	Logger   *slog.Logger     // nil discards
	Clock    func() time.Time // of what is registered; default time.Now
}

func (c *Config) setDefaults() {
	if c.Timeout <= 0 {
		c.Timeout = 2 * time.Minute
	}
	if c.DialTimeout <= 0 {
		c.DialTimeout = 20 * time.Second
	}
	if c.RetryFor <= 0 {
		c.RetryFor = 30 * time.Second
	}
	if c.Principal == "" {
		c.Principal = "hive/_HOST"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
}

// Settings are hive-site.xml's, for who builds a Config.
type Settings struct {
	Hosts     []string
	Kerberos  bool   // the metastore wants it
	Principal string // the metastore's
	Timeout   time.Duration
}

// ReadSettings reads hive-site.xml, or what else get knows ("" for what is not set). Names of the metastore's own file
// (metastore.thrift.uris) are known as well. What asks for a transport that is not spoken here is an error.
func ReadSettings(get func(name string) string) (Settings, error) {
	var s Settings
	setting := func(names ...string) string {
		for _, name := range names {
			if v := strings.TrimSpace(get(name)); v != "" {
				return v
			}
		}
		return ""
	}
	var err error
	if s.Hosts, err = ParseURIs(setting("hive.metastore.uris", "metastore.thrift.uris")); err != nil {
		return s, err
	}
	s.Kerberos = isTrue(setting("hive.metastore.sasl.enabled", "metastore.sasl.enabled"))
	s.Principal = setting("hive.metastore.kerberos.principal", "metastore.kerberos.principal")
	if text := setting("hive.metastore.client.socket.timeout", "metastore.client.socket.timeout"); text != "" {
		if s.Timeout, err = parseDuration(text); err != nil {
			return s, fault(ErrUsage, "hive.metastore.client.socket.timeout: %q is no time", text).hint("seconds, or 600s, 10m")
		}
	}
	for _, unspoken := range []struct {
		names []string
		bad   func(string) bool
		what  string
	}{
		{[]string{"hive.metastore.use.SSL", "metastore.use.SSL"}, isTrue, "TLS"},
		{[]string{"hive.metastore.thrift.framed.transport.enabled", "metastore.thrift.framed.transport.enabled"}, isTrue, "the framed transport"},
		{[]string{"hive.metastore.thrift.compact.protocol.enabled", "metastore.thrift.compact.protocol.enabled"}, isTrue, "the compact protocol"},
		{[]string{"hive.metastore.client.thrift.transport.mode", "metastore.client.thrift.transport.mode"}, isHTTP, "HTTP"},
		{[]string{"hive.metastore.service.discovery.mode", "metastore.service.discovery.mode"}, isZooKeeper, "discovery by ZooKeeper"},
		{[]string{"hive.metastore.client.auth.mode", "metastore.client.auth.mode"}, isPassword, "passwords and tokens"},
	} {
		if v := setting(unspoken.names...); unspoken.bad(v) {
			return s, fault(ErrUsage, "hive-site.xml: %s is %s: %s is not supported", unspoken.names[0], v, unspoken.what).
				hint("name a metastore that speaks Thrift's binary protocol, plain or with Kerberos: hive://HOST:PORT/DB.TABLE")
		}
	}
	return s, nil
}

func isTrue(text string) bool      { return strings.EqualFold(text, "true") }
func isHTTP(text string) bool      { return strings.EqualFold(text, "http") }
func isZooKeeper(text string) bool { return strings.EqualFold(text, "zookeeper") }
func isPassword(text string) bool {
	return text != "" && !strings.EqualFold(text, "NOSASL") && !strings.EqualFold(text, "KERBEROS") && !strings.EqualFold(text, "NONE")
}

// parseDuration reads a time as Hive writes it: seconds, or with one of its units.
func parseDuration(text string) (time.Duration, error) {
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil {
		return 0, err
	}
	unit, ok := map[string]time.Duration{
		"": time.Second, "s": time.Second, "sec": time.Second, "ms": time.Millisecond, "msec": time.Millisecond,
		"m": time.Minute, "min": time.Minute, "h": time.Hour, "hour": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour,
	}[strings.ToLower(strings.TrimSpace(text[len(number):]))]
	if !ok {
		return 0, strconv.ErrSyntax
	}
	return time.Duration(n) * unit, nil
}
