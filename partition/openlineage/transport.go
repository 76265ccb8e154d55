package openlineage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"
)

// transport takes events, each a line of JSON.
type transport interface {
	send(ctx context.Context, line []byte) error
}

// file appends lines to a file. Runs that share one do not tear each other's: a line is one write.
type file string

func (f file) send(_ context.Context, line []byte) (err error) {
	w, err := os.OpenFile(string(f), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	_, err = w.Write(append(line, '\n'))
	return err
}

// console hands lines to whoever runs us.
type console func(line []byte)

func (c console) send(_ context.Context, line []byte) error {
	c(line)
	return nil
}

// receiver is a server that takes events by HTTP.
type receiver struct {
	url, key string
}

// usualEndpoint is where servers take events.
const usualEndpoint = "api/v1/lineage"

// newReceiver makes the address of a server's URL and the endpoint below it.
func newReceiver(server, endpoint, key string) (*receiver, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the server's URL is none: want http://host:5000")
	}
	endpoint = strings.Trim(endpoint, "/")
	if at := strings.TrimSuffix(u.Path, "/"); !strings.HasSuffix(at, "/"+endpoint) {
		u.Path = at + "/" + endpoint
	}
	return &receiver{url: u.String(), key: key}, nil
}

func (r *receiver) send(ctx context.Context, line []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(line))
	if err != nil {
		return brief(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if r.key != "" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return brief(err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 == 2 {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(res.Body, 300)) // it is for the message
	text, _, _ := strings.Cut(strings.TrimSpace(string(said)), "\n")
	if !utf8.ValidString(text) {
		text = ""
	}
	return errors.New(strings.TrimSpace(fmt.Sprintf("answered %s %s", res.Status, text)))
}

// brief takes the URL out of an error: it may hold what is secret.
func brief(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
