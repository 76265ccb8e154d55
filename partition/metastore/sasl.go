package metastore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/spnego"
	"github.com/jcmturner/gokrb5/v8/types"
)

// Thrift's SASL handshake: messages of a status, four bytes of length, and a payload.
const (
	saslStart    = 1
	saslOK       = 2
	saslBad      = 3
	saslError    = 4
	saslComplete = 5
)

// maxToken bounds a message of the handshake.
const maxToken = 1 << 20

// qopAuth is RFC 4752's quality of protection without one: authentication only.
const qopAuth = 1

// servicePrincipal makes "hive/host" of "hive/_HOST@REALM": the realm is found by krb5.conf, as for any other host.
func servicePrincipal(principal, host string) (string, error) {
	name, _, _ := strings.Cut(principal, "@")
	service, instance, ok := strings.Cut(name, "/")
	if !ok || service == "" || instance == "" {
		return "", fault(ErrUsage, "hive.metastore.kerberos.principal: %q: want SERVICE/_HOST@REALM", principal)
	}
	if instance == "_HOST" {
		instance = host
		if h, _, err := net.SplitHostPort(host); err == nil {
			instance = h
		}
	}
	return service + "/" + strings.ToLower(instance), nil
}

// negotiate proves who we are by Kerberos (RFC 4752), and turns frames on.
func (l *link) negotiate(login *client.Client, service string) error {
	ticket, key, err := login.GetServiceTicket(service)
	if err != nil {
		return kerberosFault(service, err)
	}
	token, err := spnego.NewKRB5TokenAPREQ(login, ticket, key, []int{gssapi.ContextFlagInteg, gssapi.ContextFlagConf}, nil)
	if err != nil {
		return kerberosFault(service, err)
	}
	first, err := token.Marshal()
	if err != nil {
		return kerberosFault(service, err)
	}
	if err := l.say(saslStart, []byte("GSSAPI")); err != nil {
		return err
	}
	if err := l.say(saslOK, first); err != nil {
		return err
	}
	offer, err := l.offered(key)
	if err != nil {
		return err
	}
	if offer[0]&qopAuth == 0 {
		return fault(ErrUsage, "the metastore wants protected connections (auth-int or auth-conf): only authentication is spoken here").
			hint("its hadoop.rpc.protection has to have authentication among its values")
	}
	// The answer: authentication only, no size of buffers, and nobody else's name.
	choice, err := gssapi.NewInitiatorWrapToken([]byte{qopAuth, 0, 0, 0}, key)
	if err != nil {
		return err
	}
	answer, err := choice.Marshal()
	if err != nil {
		return err
	}
	if err := l.say(saslOK, answer); err != nil {
		return err
	}
	status, _, err := l.hear()
	if err != nil {
		return err
	}
	if status != saslComplete {
		return fmt.Errorf("the handshake ended with status %d", status)
	}
	l.frames = true
	return nil
}

// offered hears which protection the server offers: four bytes, wrapped and signed. To sign them it needs what only the holder of
// the service's key finds in the ticket, so that it is proven as well whom we talk to.
func (l *link) offered(key types.EncryptionKey) ([]byte, error) {
	_, message, err := l.hear()
	if err != nil {
		return nil, err
	}
	var offer gssapi.WrapToken
	if err := offer.Unmarshal(message, true); err != nil {
		return nil, fmt.Errorf("the metastore's answer to the ticket: %w", err)
	}
	if ok, err := offer.Verify(key, keyusage.GSSAPI_ACCEPTOR_SEAL); !ok {
		return nil, errors.Join(errors.New("the metastore's offer is not signed by the key of its ticket"), err)
	}
	if len(offer.Payload) != 4 {
		return nil, fmt.Errorf("the metastore's offer has %d bytes, not 4", len(offer.Payload))
	}
	return offer.Payload, nil
}

// say sends a message of the handshake.
func (l *link) say(status byte, payload []byte) error {
	message := append([]byte{status}, lengthBytes(len(payload))...)
	_, err := l.conn.Write(append(message, payload...))
	return err
}

// hear reads one.
func (l *link) hear() (status byte, payload []byte, err error) {
	if status, err = l.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := l.length(maxToken)
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(l.in, payload); err != nil {
		return 0, nil, err
	}
	switch status {
	case saslBad, saslError:
		return status, nil, &refusal{string(payload)}
	case saslOK, saslComplete:
		return status, payload, nil
	}
	return status, nil, fmt.Errorf("status %d is none of SASL", status)
}

// length reads four bytes of it.
func (l *link) length(most int64) (int64, error) {
	var b [4]byte
	if _, err := io.ReadFull(l.in, b[:]); err != nil {
		return 0, err
	}
	n := int64(binary.BigEndian.Uint32(b[:]))
	if n > most {
		return 0, fmt.Errorf("a message of %d bytes is announced: this is no metastore with Kerberos", n)
	}
	return n, nil
}

func lengthBytes(n int) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(n))
}

// refusal is a server's no in the handshake.
type refusal struct{ reason string }

func (r *refusal) Error() string {
	if r.reason == "" {
		return "the metastore refused the ticket"
	}
	return "the metastore refused the ticket: " + r.reason
}

func kerberosFault(service string, err error) error {
	return &Error{
		Err:  fmt.Errorf("no Kerberos ticket for %s: %w", service, err),
		Hint: "is hive.metastore.kerberos.principal the metastore's own, and its host the one of krb5.conf's realm? kinit, or --keytab and --principal, give a fresh login",
	}
}
