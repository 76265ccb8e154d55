package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/hupsert/hupsert/partition"
)

// Event is what became of a step, as far as hooks care.
type Event string

// The events. A step that publishes some partitions and fails in others is both.
const (
	OnPublished Event = "published" // partitions were published
	OnNoop      Event = "noop"      // nothing was to be done
	OnStaged    Event = "staged"    // partitions wait for publish or discard, as the step asked for
	OnFailed    Event = "failed"    // the step ends the job
)

var eventNames = []string{string(OnPublished), string(OnNoop), string(OnStaged), string(OnFailed)}

// defaultTimeout is how long a hook may take that does not say.
const defaultTimeout = 30 * time.Second

// Hook is a command or an HTTP call that tells others what became of a step.
type Hook struct {
	Name    string
	On      []Event
	Command []string // a program with its arguments
	Shell   string   // or a text for the shell
	URL     string   // or a call of this
	Method  string   // "": POST
	Headers map[string]string
	Body    *string // nil: the step's report as JSON
	Timeout time.Duration

	line int
}

// hookVariables begin with this. They get their values when a hook is called, and are in the environment of its command.
const hookVariables = "HUPSERT_"

func isHookVariable(name string) bool { return strings.HasPrefix(name, hookVariables) }

// hookList is hooks as a file has them.
func hookList(to *[]*Hook) value {
	return &list{what: "hooks", doc: "Commands and HTTP calls that are told what became of a step. None of them undoes anything", each: func() value {
		h := &Hook{Timeout: defaultTimeout}
		*to = append(*to, h)
		return h.object()
	}}
}

// object is what a hook may hold.
func (h *Hook) object() *object {
	text := schema{"type": "string"}
	late := func(to *string, name, doc string) custom {
		return custom{shape: schema{"type": "string", "description": doc}, into: func(r *reader, n ast.Node) { *to, _ = r.expand(n, name, isHookVariable) }}
	}
	return &object{what: "the hook", doc: "A command or an HTTP call", one: []string{"command", "url"}, found: func(n ast.Node) { h.line = lineOf(n) }, members: []member{
		{name: "name", value: &Field{Name: "name", Usage: "what the hook is called in messages (default: what it calls)", To: &h.Name}},
		{name: "on", required: true, value: custom{shape: schema{"description": "when it is called: published, noop, staged, failed",
			"anyOf": []schema{{"enum": eventNames}, {"type": "array", "items": schema{"enum": eventNames}, "minItems": 1}}}, into: h.readOn}},
		{name: "command", value: custom{shape: schema{"description": "a program with its arguments, as a list, or a text for the shell; it gets the report as JSON on its standard input, and HUPSERT_... in its environment",
			"anyOf": []schema{text, {"type": "array", "items": text, "minItems": 1}}}, into: h.readCommand}},
		{name: "url", value: late(&h.URL, "url", "what is called by HTTP")},
		{name: "method", value: &Field{Name: "method", Usage: "of the HTTP call", Default: "POST", Choices: []string{"GET", "POST", "PUT", "PATCH", "DELETE"}, To: &h.Method}},
		{name: "headers", value: &textMap{what: "headers", doc: "of the HTTP call", to: &h.Headers, later: isHookVariable}},
		{name: "body", value: custom{shape: schema{"type": "string", "description": "of the HTTP call, with ${HUPSERT_...} (default: the step's report as JSON)"}, into: func(r *reader, n ast.Node) {
			if body, ok := r.expand(n, "body", isHookVariable); ok {
				h.Body = &body
			}
		}}},
		{name: "timeout", value: &Field{Name: "timeout", Kind: Duration, Usage: "how long the hook may take", Default: "30s", To: &h.Timeout}},
	}}
}

func (h *Hook) readOn(r *reader, n ast.Node) {
	names, ok := r.texts(n, "on")
	if !ok {
		return
	}
	if len(names) == 0 {
		r.problem(n, "", "on: the list is empty")
	}
	for _, name := range names {
		if !contains(eventNames, name) {
			r.problem(n, "", "on: want %s, not %q", oneOf(eventNames), name)
			continue
		}
		h.On = append(h.On, Event(name))
	}
}

func (h *Hook) readCommand(r *reader, n ast.Node) {
	if _, isList := n.(*ast.SequenceNode); !isList {
		text, ok := r.expand(n, "command", isHookVariable)
		if ok && strings.TrimSpace(text) == "" {
			r.problem(n, "", "command is empty")
		}
		h.Shell = strings.ReplaceAll(text, "$${", "${") // the shell puts the values in
		return
	}
	items, _ := r.items(n, "command")
	if len(items) == 0 {
		r.problem(n, "", "command: the list is empty")
	}
	for _, item := range items {
		word, _ := r.expand(item, "command", isHookVariable)
		h.Command = append(h.Command, word)
	}
}

// check finds what makes no sense together.
func (h *Hook) check(r *reader) {
	if h.line == 0 {
		return // it is no list of fields, which is told
	}
	if h.URL == "" && (h.Method != "" || h.Headers != nil || h.Body != nil) {
		r.problemAt(h.line, "", "the hook: method, headers and body are of a url")
	}
	if h.Timeout <= 0 {
		r.problemAt(h.line, "", "the hook: timeout must be more than nothing")
	}
	if h.URL == "" {
		return
	}
	u, err := url.Parse(isolate(h.URL))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		r.problemAt(h.line, "", "the hook: url %q: want http:// or https://, and a host", h.URL)
	}
}

// isolate puts something into a URL for what is known later.
func isolate(text string) string {
	out, err := (&variables{used: map[string]bool{}, env: func(string) (string, bool) { return "x", true }}).expand(text, nil)
	if err != nil {
		return text
	}
	return out
}

// String is what the hook is called in messages. A URL is told without what may be secret in it.
func (h *Hook) String() string {
	switch {
	case h.Name != "":
		return h.Name
	case h.URL != "":
		if u, err := url.Parse(isolate(h.URL)); err == nil {
			return u.Scheme + "://" + u.Host
		}
		return "url"
	case h.Shell != "":
		return shorten(strings.Fields(h.Shell)[0], 60)
	}
	return h.Command[0]
}

// HookReport is what became of a hook.
type HookReport struct {
	Hook    string  `json:"hook"`
	On      Event   `json:"on"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"` // it failed, or took too long
}

// call calls the hook for an event. Its failure is told, and nothing else comes of it.
func (h *Hook) call(ctx context.Context, on Event, of *StepReport, job string, warn func(string)) HookReport {
	began := time.Now()
	out := HookReport{Hook: h.String(), On: on}
	err := ctx.Err()
	if err == nil {
		err = h.carryOut(ctx, on, of, job)
	}
	out.Seconds = time.Since(began).Seconds()
	if err == nil {
		return out
	}
	switch {
	case ctx.Err() != nil:
		out.Error = "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		out.Error = fmt.Sprintf("took longer than %s, and was ended", h.Timeout)
	default:
		out.Error = err.Error()
	}
	warn(fmt.Sprintf("step %s: hook %s (on %s): %s; the step stays as it is", of.Step, out.Hook, on, out.Error))
	return out
}

func (h *Hook) carryOut(ctx context.Context, on Event, of *StepReport, job string) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	report, err := json.Marshal(of)
	if err != nil {
		return err
	}
	known := hookValues(on, of, job)
	if h.URL != "" {
		err = h.request(ctx, known, report)
	} else {
		err = h.execute(ctx, known, report)
	}
	if ctx.Err() != nil {
		return ctx.Err() // what came of it is not worth telling
	}
	return err
}

// longestValue bounds a variable: an environment takes 128 KiB in one on Linux.
const longestValue = 32 << 10

// hookValues are the variables of a call.
func hookValues(on Event, of *StepReport, job string) map[string]string {
	v := map[string]string{"JOB": job, "STEP": of.Step, "EVENT": string(on), "TABLE": of.Table, "TABLE_NAME": tableName(of.Table), "STATUS": string(of.Status),
		"RUN": "", "ERROR": "", "ERROR_KIND": "", "PARTITIONS": "", "PARTITION_COUNT": "0",
		"ROWS_INSERTED": "0", "ROWS_UPDATED": "0", "ROWS_DELETED": "0", "ROWS_MOVED": "0", "ROWS": "0"}
	if of.Error != nil {
		v["ERROR"], v["ERROR_KIND"] = shorten(of.failure, longestValue), string(of.Error.Kind)
	}
	if r := of.Report; r != nil {
		rows := r.Total.Rows
		v["RUN"] = r.Run
		v["ROWS_INSERTED"], v["ROWS_UPDATED"] = strconv.FormatInt(rows.Inserted, 10), strconv.FormatInt(rows.Updated, 10)
		v["ROWS_MOVED"] = strconv.FormatInt(rows.Moved, 10)
		v["ROWS_DELETED"], v["ROWS"] = strconv.FormatInt(rows.Deleted, 10), strconv.FormatInt(rows.Out, 10)
		var changed []string
		for _, p := range r.Partitions {
			if p.Status == partition.Published || p.Status == partition.Staged {
				changed = append(changed, p.Partition)
			}
		}
		v["PARTITION_COUNT"] = strconv.Itoa(len(changed))
		v["PARTITIONS"] = wholeLines(strings.Join(changed, "\n"), longestValue)
	}
	out := map[string]string{}
	for name, value := range v {
		out[hookVariables+name] = value
	}
	return out
}

// wholeLines cuts a text between lines.
func wholeLines(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:max(0, strings.LastIndexByte(text[:most], '\n'))]
}

// shorten cuts a text between characters.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "..."
}

// fill puts values into a text that was read before they were known.
func fill(text string, known map[string]string, written func(string) string) (string, error) {
	v := &variables{used: map[string]bool{}, env: func(name string) (string, bool) {
		value, ok := known[name]
		if written != nil {
			value = written(value)
		}
		return value, ok
	}}
	return v.expand(text, nil)
}

// asJSON writes a value as it stands inside a JSON string.
func asJSON(value string) string {
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text[1 : len(text)-1])
}

// execute runs the hook's command in a process group of its own, which ends with it.
func (h *Hook) execute(ctx context.Context, known map[string]string, report []byte) error {
	args := []string{"/bin/sh", "-c", h.Shell}
	if h.Shell == "" {
		args = nil
		for _, word := range h.Command {
			filled, err := fill(word, known, nil)
			if err != nil {
				return err
			}
			args = append(args, filled)
		}
	}
	var output tail
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(report), &output, &output
	cmd.Env = os.Environ()
	for _, name := range sortedKeys(known) {
		cmd.Env = append(cmd.Env, name+"="+strings.ReplaceAll(known[name], "\x00", ""))
	}
	end := groupOf(cmd)
	// What keeps the pipes open, such as a child in the background, is not waited for long.
	cmd.WaitDelay = outputDelay
	err := cmd.Run()
	end()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the command itself ended well
	}
	if text := output.last(); err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return err
}

// outputDelay is how long the output of a command that has ended is waited for.
const outputDelay = 2 * time.Second

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

const tailBytes = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailBytes; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// last is the last line.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.kept)), "\n")
	return shorten(strings.ToValidUTF8(lines[len(lines)-1], "?"), 300)
}

// request makes the hook's HTTP call.
func (h *Hook) request(ctx context.Context, known map[string]string, report []byte) error {
	target, err := fill(h.URL, known, url.QueryEscape)
	if err != nil {
		return err
	}
	headers, kind := http.Header{}, "application/json"
	for _, name := range sortedKeys(h.Headers) {
		filled, err := fill(h.Headers[name], known, func(s string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(s) })
		if err != nil {
			return err
		}
		headers.Set(name, filled)
	}
	if headers.Get("Content-Type") == "" {
		headers.Set("Content-Type", kind)
	}
	body := string(report)
	if h.Body != nil {
		var written func(string) string
		if strings.Contains(headers.Get("Content-Type"), "json") {
			written = asJSON
		}
		if body, err = fill(*h.Body, known, written); err != nil {
			return err
		}
	}
	method := h.Method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return withoutURL(err)
	}
	req.Header = headers
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer res.Body.Close()
	var output tail
	// What it says is for the message; that it can't be read to its end changes nothing.
	_, _ = io.Copy(&output, io.LimitReader(res.Body, 1<<20))
	if res.StatusCode/100 != 2 {
		return errors.New(strings.TrimSpace("answered " + res.Status + " " + output.last()))
	}
	return nil
}

// withoutURL takes the URL out of an error: webhooks have secrets in theirs.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
