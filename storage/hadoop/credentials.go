package hadoop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strings"
	"sync"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/keytab"
)

// ErrLogin says that Kerberos did not let us in. ErrSetup, beside it, that what we were told names the wrong thing, a keytab that is
// not there or a principal that is not in it, so that nobody was asked; ErrSilent that the KDC did not answer, which may
// pass. The texts end in what helps, behind a semicolon.
var (
	ErrLogin  = errors.New("kerberos login")
	ErrSetup  = errors.New("kerberos set-up")
	ErrSilent = errors.New("no KDC answers")
)

// Credentials says who a client is. The zero value is the user of the process, and the ticket cache where Kerberos
// is asked for.
type Credentials struct {
	User      string // name for services without Kerberos; default HADOOP_USER_NAME, else the process's user
	Keytab    string // file with Kerberos keys; default the ticket cache
	Principal string // name@REALM in the keytab; default its only one. _HOST in it is this machine's name
}

// UserName is who we are for a service without Kerberos.
func (c Credentials) UserName() string {
	return cmp.Or(c.User, os.Getenv("HADOOP_USER_NAME"), osUser())
}

func osUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

// logins are the Kerberos logins of the process: one for each keytab or cache, whoever asks.
var logins struct {
	sync.Mutex
	of map[Credentials]*login
}

// login is a Kerberos login. One by keytab goes on for as long as the process runs; one by ticket cache is read anew
// when somebody wrote the cache, as kinit does.
type login struct {
	client *client.Client
	cache  string    // file of the ticket cache; "": by keytab
	wrote  time.Time // of the cache, when it was read
	ends   time.Time // of its ticket
}

// Kerberos gives the process's login, and makes it where there is none, or where the ticket's end is near. It is to
// be asked before each connection and not kept. Errors match [ErrLogin] and say what helps.
func (c Credentials) Kerberos() (*client.Client, error) {
	c.User = ""
	logins.Lock()
	defer logins.Unlock()
	if l := logins.of[c]; l != nil && l.fresh() {
		return l.client, nil
	}
	l, err := c.login()
	if err != nil {
		return nil, err
	}
	if logins.of == nil {
		logins.of = map[Credentials]*login{}
	}
	logins.of[c].end()
	logins.of[c] = l
	return l.client, nil
}

// Forget ends a login that is not taken any more: the next one that asks logs in anew. One that took its place already stays.
func (c Credentials) Forget(given *client.Client) {
	c.User = ""
	logins.Lock()
	defer logins.Unlock()
	if l := logins.of[c]; l != nil && l.client == given {
		l.end()
		delete(logins.of, c)
	}
}

// end ends what renews a login behind our back, and drops its tickets. Connections that were given it may go on to use it: of
// the client itself nothing changes.
func (l *login) end() {
	if l == nil {
		return
	}
	shared := *l.client // with the same tickets
	shared.Destroy()
}

// Ticket gives a login that has a ticket for a service (name/host), so that what is wrong is found where it can be told
// apart: the KDC that does not answer ([ErrSilent]), the service that it does not know, the keys that do not fit. A KDC is asked
// by a library that knows no contexts: where ctx ends, that goes on for some seconds, and nobody waits for it.
func (c Credentials) Ticket(ctx context.Context, service string) (*client.Client, error) {
	type given struct {
		login *client.Client
		err   error
	}
	got := make(chan given, 1)
	go func() {
		login, err := c.ticket(service)
		got <- given{login, err}
	}()
	select {
	case g := <-got:
		return g.login, g.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c Credentials) ticket(service string) (*client.Client, error) {
	for again := false; ; again = true {
		cl, err := c.Kerberos()
		if err != nil {
			return nil, err
		}
		_, _, err = cl.GetServiceTicket(service)
		switch {
		case err == nil:
			return cl, nil
		case isSilent(err):
			return nil, silentFault("of the KDC no ticket for %s was to be had: %s; %s", service, reason(err), remedy(err))
		case !again && !isUnknown(err): // the login's own ticket may have come to its end, or be refused
			c.Forget(cl)
			continue
		}
		return nil, fault("the KDC gives %s no ticket for %s: %s; is the principal in the service's settings the right one, and the clock of this machine?",
			cl.Credentials.CName().PrincipalNameString(), service, reason(err))
	}
}

// isUnknown reports whether a KDC does not know the service that a ticket was asked for, which is no fault of the login.
func isUnknown(err error) bool {
	return strings.Contains(err.Error(), "KDC_ERR_S_PRINCIPAL_UNKNOWN")
}

// isSilent reports whether a KDC did not answer. One that krb5.conf does not name, or whose host has no address, never will.
func isSilent(err error) bool {
	text := err.Error()
	if strings.Contains(text, "no such host") || strings.Contains(text, "no KDC") {
		return false
	}
	return isNetwork(text)
}

// isNetwork reports whether gokrb5, which gives texts alone, tells of the way to the KDC and not of its answer.
func isNetwork(text string) bool {
	return strings.Contains(text, "Networking_Error") || strings.Contains(text, "communication error") || strings.Contains(text, "failed to communicate")
}

// fresh reports whether a login can be used as it is. gokrb5 renews those by keytab.
func (l *login) fresh() bool {
	if l.cache == "" {
		return true
	}
	info, err := os.Stat(l.cache)
	return err == nil && info.ModTime().Equal(l.wrote) && time.Now().Before(l.ends)
}

func (c Credentials) login() (*login, error) {
	conf, name, err := kerberosConf()
	if err != nil {
		return nil, err
	}
	if c.Keytab != "" {
		return c.byKeytab(conf)
	}
	return byCache(conf, name)
}

// kerberosConf reads krb5.conf.
func kerberosConf() (*config.Config, string, error) {
	name := cmp.Or(os.Getenv("KRB5_CONFIG"), "/etc/krb5.conf")
	name, _, _ = strings.Cut(name, ":")
	conf, err := config.Load(name)
	var unsupported config.UnsupportedDirective
	if err != nil && !errors.As(err, &unsupported) {
		return nil, name, setupFault("there is no Kerberos configuration: %s; KRB5_CONFIG names another file", confReason(name, err))
	}
	return conf, name, nil
}

func (c Credentials) byKeytab(conf *config.Config) (*login, error) {
	keys, err := keytab.Load(c.Keytab)
	if err != nil {
		return nil, setupFault("keytab %s can't be read: %s; --keytab names the file that ktutil or the administrator has made", c.Keytab, fileReason(err))
	}
	name, realm, err := c.principal(keys, conf)
	if err != nil {
		return nil, err
	}
	cl := client.NewWithKeytab(name, realm, keys, conf, client.DisablePAFXFAST(true))
	if err := cl.Login(); err != nil {
		told := fault
		if isSilent(err) {
			told = silentFault
		}
		return nil, told("%s@%s by keytab %s: %s; %s", name, realm, c.Keytab, reason(err), remedy(err))
	}
	return &login{client: cl}, nil
}

// principal is the name to log in by: the one asked for, which must be in the keytab, or the only one there.
func (c Credentials) principal(keys *keytab.Keytab, conf *config.Config) (name, realm string, err error) {
	var found []string
	for _, e := range keys.Entries {
		full := strings.Join(e.Principal.Components, "/") + "@" + e.Principal.Realm
		if len(found) == 0 || found[len(found)-1] != full {
			found = append(found, full)
		}
	}
	want := c.Principal
	if want == "" {
		if len(found) != 1 {
			return "", "", setupFault("keytab %s has %d principals: %s; name one with --principal", c.Keytab, len(found), strings.Join(found, ", "))
		}
		want = found[0]
	}
	if strings.Contains(want, "_HOST") {
		host, err := os.Hostname()
		if err != nil {
			return "", "", fault("principal %s: %v", want, err)
		}
		want = strings.ReplaceAll(want, "_HOST", strings.ToLower(host))
	}
	name, realm, _ = strings.Cut(want, "@")
	realm = cmp.Or(realm, conf.LibDefaults.DefaultRealm)
	for _, f := range found {
		if f == name+"@"+realm {
			return name, realm, nil
		}
	}
	return "", "", setupFault("keytab %s has no principal %s@%s, but %s; name one of them with --principal", c.Keytab, name, realm, strings.Join(found, ", "))
}

func byCache(conf *config.Config, confName string) (*login, error) {
	name := cmp.Or(os.Getenv("KRB5CCNAME"), fmt.Sprintf("/tmp/krb5cc_%d", os.Getuid()))
	if kind, file, typed := strings.Cut(name, ":"); typed && !strings.HasPrefix(name, "/") {
		if kind != "FILE" {
			return nil, setupFault("the ticket cache %s is no file; kinit -c FILE:/some/file and KRB5CCNAME with the same, or --keytab", name)
		}
		name = file
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault("there is no ticket cache %s; kinit makes one, KRB5CCNAME names another, --keytab logs in without", name)
	}
	if err != nil {
		return nil, fault("ticket cache: %v", err)
	}
	cache, err := loadCache(name)
	if err != nil {
		return nil, fault("ticket cache %s can't be read: %v; kinit makes a new one", name, err)
	}
	cl, err := client.NewFromCCache(cache, conf, client.DisablePAFXFAST(true))
	if err != nil {
		return nil, fault("ticket cache %s: %v (with %s); kinit makes a new one", name, err, confName)
	}
	l := &login{client: cl, cache: name, wrote: info.ModTime(), ends: ending(cache)}
	if !time.Now().Before(l.ends) {
		return nil, fault("the ticket of %s@%s in %s ended at %s; kinit gets a new one, --keytab logs in without",
			cl.Credentials.UserName(), cl.Credentials.Domain(), name, l.ends.Local().Format(time.RFC3339))
	}
	return l, nil
}

// loadCache reads a ticket cache. The parser takes what a damaged file says for granted.
func loadCache(name string) (c *credentials.CCache, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r)
		}
	}()
	return credentials.LoadCCache(name)
}

// ending is when the ticket that gets all others ends.
func ending(c *credentials.CCache) time.Time {
	for _, e := range c.Credentials {
		if names := e.Server.PrincipalName.NameString; len(names) == 2 && names[0] == "krbtgt" {
			return e.EndTime
		}
	}
	return time.Time{}
}

// loginError is a text that matches sentinels and nothing else: that a keytab is not there says nothing of the file that
// was to be opened with it.
type loginError struct {
	text string
	is   []error
}

func (l *loginError) Error() string   { return ErrLogin.Error() + ": " + l.text }
func (l *loginError) Unwrap() []error { return l.is }

func fault(format string, args ...any) error {
	return &loginError{fmt.Sprintf(format, args...), []error{ErrLogin}}
}

// setupFault is a fault of what we were told.
func setupFault(format string, args ...any) error {
	return &loginError{fmt.Sprintf(format, args...), []error{ErrLogin, ErrSetup}}
}

// silentFault is a fault that may pass.
func silentFault(format string, args ...any) error {
	return &loginError{fmt.Sprintf(format, args...), []error{ErrLogin, ErrSilent}}
}

// confReason is why krb5.conf was not taken, with its name once.
func confReason(name string, err error) string {
	if _, serr := os.Stat(name); serr != nil {
		return name + ": " + fileReason(serr)
	}
	return name + ": " + err.Error()
}

// fileReason is why a file could not be opened, without its name.
func fileReason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// reason is the last and most exact part of what gokrb5 says: it chains causes by "<".
func reason(err error) string {
	text := err.Error()
	if _, root, ok := strings.Cut(text, "Root cause: "); ok {
		text = root
		if _, said, ok := strings.Cut(text, "] "); ok {
			text = said
		}
	}
	return strings.TrimSpace(strings.ReplaceAll(text, "\n", " "))
}

// remedy says what helps against a refused login.
func remedy(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "KDC_ERR_PREAUTH_FAILED"), strings.Contains(text, "decrypt"), strings.Contains(text, "KRB_AP_ERR_BAD_INTEGRITY"):
		return "the keys are not the ones the KDC has: export the keytab anew"
	case strings.Contains(text, "KDC_ERR_C_PRINCIPAL_UNKNOWN"):
		return "the KDC does not know the principal"
	case strings.Contains(text, "KRB_AP_ERR_SKEW"):
		return "set this machine's clock"
	case isNetwork(text):
		return "is the kdc of the realm in krb5.conf the right one, and can it be reached?"
	}
	return "see the KDC's log"
}
