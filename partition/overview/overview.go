// Package overview draws what is known of a table as one page of HTML: a calendar of its partitions, its rows and bytes
// over time, its runs and what each did. In the usual case: [partition.Table.Overview], then [Write].
//
// The page needs nothing but itself: no network, no other files, no server. Its policy (Content-Security-Policy) lets
// only its own script and style run, named by their hashes, and lets it load and send nothing. What comes from the table, names
// and messages, is in one block of JSON, in which no character ends the block, and gets on the page as text only.
package overview

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/hupsert/hupsert/partition"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

// Write writes the page.
func Write(w io.Writer, o *partition.Overview) error {
	// Marshal writes <, > and & as escapes, so that no value ends the block it stands in.
	data, err := json.Marshal(gather(o))
	if err != nil {
		return fmt.Errorf("the page's data: %w", err)
	}
	script, style := tidy(pageJS), tidy(pageCSS)
	policy := fmt.Sprintf("default-src 'none'; script-src '%s'; style-src '%s'; base-uri 'none'; form-action 'none'", hashed(script), hashed(style))
	page := strings.NewReplacer("{{policy}}", policy, "{{title}}", html.EscapeString(o.Table), "{{style}}", style, "{{script}}", script)
	before, after, found := strings.Cut(pageHTML, "{{data}}")
	if !found {
		return fmt.Errorf("the page has no place for its data")
	}
	// The data last, and never through the replacer, which would take what looks like a place of the page for one.
	for _, part := range [][]byte{[]byte(page.Replace(before)), data, []byte(page.Replace(after))} {
		if _, err := io.Copy(w, bytes.NewReader(part)); err != nil {
			return err
		}
	}
	return nil
}

// tidy gives a script or style the line ends that a browser hashes it with.
func tidy(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// hashed names a script or style in a policy.
func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
