package overview

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/hupsert/hupsert/partition"
)

// shots is a folder that takes pictures of the pages, for people to look at.
var shots = os.Getenv("HUPSERT_SHOTS")

// browser finds Chromium; without it the test is skipped, or fails where all is required.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("HUPSERT_REQUIRE") == "all" {
		t.Fatal("there is no Chromium, and HUPSERT_REQUIRE is all: install the Debian package chromium")
	}
	t.Skip("SKIPPED: there is no Chromium to open the page with")
	return ""
}

// tab is a page in a browser, with what it complained about.
type tab struct {
	*testing.T
	ctx  context.Context
	file string

	mu       sync.Mutex
	faults   []string // errors of the console, exceptions, what the policy refused
	requests []string
}

// open opens the page of an overview in a browser of its own, which ends with the test.
func open(t *testing.T, o *partition.Overview, width, height int64) *tab {
	t.Helper()
	path := browser(t)
	var out bytes.Buffer
	if err := Write(&out, o); err != nil {
		t.Fatal(err)
	}
	b := &tab{T: t, file: filepath.Join(t.TempDir(), "report.html")}
	if err := os.WriteFile(b.file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.WindowSize(int(width), int(height)))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	b.ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Listen(b.ctx, b.note); err != nil {
		t.Fatal(err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	b.do(chromedp.EmulateViewport(width, height), chromedp.Navigate("file://"+b.file), chromedp.WaitReady(ready))
	t.Cleanup(b.clean)
	return b
}

// ready is there when the page is drawn.
var ready = chromedp.CSS("html[data-ready]")

// call makes a call of the browser's protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.Fatal(err)
	}
}

// scheme makes the system light or dark.
func (b *tab) scheme(name string) {
	b.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// focus and press are what a keyboard does.
func (b *tab) focus(selector string) { b.Helper(); b.do(chromedp.Focus(chromedp.CSS(selector))) }
func (b *tab) press(keys ...string) {
	b.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

// choose picks an option of a select.
func (b *tab) choose(selector, value string) {
	b.Helper()
	b.get(fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.value = %q; e.dispatchEvent(new Event("change")); return e.value })()`, selector, value))
}

// note takes down what the page should not do.
func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, fmt.Sprint(e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		b.faults = append(b.faults, fmt.Sprintf("console.%s %v", e.Type, e.Args))
	case *log.EventEntryAdded:
		b.faults = append(b.faults, e.Entry.Text)
	case *page.EventJavascriptDialogOpening:
		b.faults = append(b.faults, "a dialog: "+e.Message)
	case *network.EventRequestWillBeSent:
		if e.Request.URL != "file://"+b.file {
			b.requests = append(b.requests, e.Request.URL)
		}
	}
}

// clean checks that the page complained of nothing and asked nobody for anything.
func (b *tab) clean() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.faults) > 0 {
		b.Errorf("the page complains: %s", strings.Join(b.faults, "\n"))
	}
	if len(b.requests) > 0 {
		b.Errorf("the page asks for %s", strings.Join(b.requests, ", "))
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// get evaluates an expression of the page, as a text.
func (b *tab) get(expression string) string {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf("String(%s)", expression)))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return v
}

// want waits up to three seconds for an expression of the page to have a value.
func (b *tab) want(expression, value string) {
	b.Helper()
	wait := fmt.Sprintf(`(async () => {
		let v;
		for (let k = 0; k < 60; k++) {
			try { v = String(%s); } catch (e) { v = String(e); }
			if (v === %q) break;
			await new Promise((r) => setTimeout(r, 50));
		}
		return v;
	})()`, expression, value)
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](wait, chromedp.EvalAwaitPromise))
	if err != nil || got != value {
		b.Errorf("%s: got %q, want %q (%v)", expression, got, value, err)
	}
}

// shot takes a picture of the whole page, where pictures are asked for.
func (b *tab) shot(name string) {
	b.Helper()
	if shots == "" {
		return
	}
	b.want(`(scrollTo({ top: 0, behavior: "instant" }), scrollY)`, "0")
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(shots, name+".png"), picture, 0o644); err != nil {
		b.Fatal(err)
	}
}

// firstOf is the first cell of a table's rows.
func firstOf(table string) string {
	return fmt.Sprintf(`document.querySelector("#%s-table tbody tr .open").textContent`, table)
}

// TestManyRuns: 5,000 partitions and 10,000 runs. The page is drawn at once, and its tables sort, filter and turn pages by
// keyboard alone.
func TestManyRuns(t *testing.T) {
	o := synthetic(5000, 10_000)
	b := open(t, o, 1280, 900)
	drawn := b.get(`performance.timing.domComplete - performance.timing.domLoading`)
	info, err := os.Stat(b.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("5,000 partitions, 10,000 runs: %d KiB, drawn in %s ms", info.Size()>>10, drawn)
	b.want(`document.querySelectorAll("#runs-table tbody tr.row").length`, "25")
	b.want(`document.querySelector("#runs-pager span").textContent`, "1–25 of 10,000")
	b.want(`document.querySelector("#partitions-pager span").textContent`, "1–25 of 5,000")
	b.want(firstOf("partitions"), "dt=2026-11-22")
	b.shot("many-light")

	// Sorting: by rows, largest first, then smallest.
	largest := slices.MaxFunc(o.Partitions, func(a, b partition.PartitionOverview) int { return int(a.Rows - b.Rows) })
	smallest := slices.MinFunc(o.Partitions, func(a, b partition.PartitionOverview) int { return int(a.Rows - b.Rows) })
	byRows := `#partitions-table th:nth-child(3)`
	b.focus(byRows + " button")
	b.press(kb.Enter)
	b.want(fmt.Sprintf(`document.querySelector("%s").ariaSort`, byRows), "descending")
	b.want(firstOf("partitions"), largest.Partition)
	b.press(kb.Enter)
	b.want(firstOf("partitions"), smallest.Partition)
	b.want(fmt.Sprintf(`document.querySelector("%s").ariaSort`, byRows), "ascending")

	// Filtering: all words must be in it.
	b.focus("#partitions-filter")
	b.press("dt=2026-11 -20")
	b.want(`document.querySelector("#partitions-pager span").textContent`, "1–1 of 1 (5,000 in all)")
	b.want(firstOf("partitions"), "dt=2026-11-20")
	b.want(`document.querySelector("#say").textContent`, "1 match")
	b.choose("#runs-status", "failed")
	b.want(`document.querySelector("#runs-pager span").textContent`, fmt.Sprintf("1–25 of %d (10,000 in all)", len(o.Failures)))

	// A row opens by keyboard, says what failed, and stays in focus.
	b.focus("#runs-table tbody .open")
	b.press(kb.Enter)
	b.want(`document.activeElement.ariaExpanded`, "true")
	b.want(`document.querySelector("#runs-table .failure").textContent.includes("order_id=4711")`, "true")
	b.press(kb.Enter)
	b.want(`document.querySelectorAll("#runs-table .detail").length`, "0")

	// Pages.
	b.focus(`#runs-pager [aria-label="Next page"]`)
	b.press(kb.Enter)
	b.want(`document.querySelector("#runs-pager span").textContent.split(" ")[0]`, "26–50")
	b.want(`document.activeElement.ariaLabel`, "Next page")
}

// TestCalendar: the calendar is one stop of the tab key; arrows go by day and week, Enter leads to the partition. Its colours
// follow what is asked for.
func TestCalendar(t *testing.T) {
	b := open(t, synthetic(400, 900), 1280, 900)
	b.want(`document.querySelectorAll(".year").length`, "2")
	b.want(`document.querySelectorAll(".year .c.on").length`, "400")
	b.want(`document.querySelectorAll('.year [tabindex="0"]').length`, "2")
	b.focus(`.year [tabindex="0"]`)
	focused := `document.activeElement.ariaLabel.split(":")[0]`
	b.want(focused, "2026-11-22")
	b.press(kb.ArrowUp)
	b.want(focused, "2026-11-21")
	b.press(kb.ArrowLeft)
	b.want(focused, "2026-11-14")
	b.want(`document.querySelector("#tip").hidden`, "false")
	b.want(`document.querySelector("#tip b").textContent`, "2026-11-14")
	b.press(kb.Escape)
	b.want(`document.querySelector("#tip").hidden`, "true")
	b.press(kb.Enter)
	b.want(`document.querySelector("#partitions-filter").value`, "dt=2026-11-14")
	b.want(`document.activeElement.textContent`, "dt=2026-11-14")
	b.want(`document.activeElement.ariaExpanded`, "true")
	b.shot("calendar-light")

	b.choose("#shade", "merged")
	b.want(`document.querySelector(".year [aria-label^='2026-11-20']").ariaLabel.includes("last merge 2026-11-2")`, "true")
	b.want(`document.querySelector(".year [aria-label^='2026-11-20']").className`, "c on l5")

	// Charts say in words what they show, and arrows walk through them.
	b.focus("#rows-chart svg")
	b.press(kb.ArrowLeft)
	b.want(`/^\d{4}-\d\d-\d\d \d\d:\d\d, rows [\d,]+$/.test(document.querySelector("#say").textContent)`, "true")
}

// TestColours: dark where the system is, or where the switch says so.
func TestColours(t *testing.T) {
	b := open(t, synthetic(400, 900), 1280, 900)
	card := `getComputedStyle(document.querySelector(".card")).backgroundColor`
	b.want(card, "rgb(255, 255, 255)")
	b.scheme("dark")
	b.want(card, "rgb(22, 29, 27)")
	b.focus("#runs-table tbody .open")
	b.press(kb.Enter)
	b.focus("#runs-table tbody tr:nth-child(4) .open")
	b.press(kb.Enter)
	b.shot("calendar-dark")
	b.focus(`#theme [value="auto"]`)
	b.press(kb.ArrowRight)
	b.want(`document.documentElement.dataset.theme`, "light")
	b.want(card, "rgb(255, 255, 255)")
	b.scheme("light")
	b.press(kb.ArrowRight)
	b.want(card, "rgb(22, 29, 27)")
	b.do(chromedp.Reload(), chromedp.WaitReady(ready))
	b.want(`document.documentElement.dataset.theme`, "dark")
}

// TestNarrow: on a telephone nothing is wider than the page.
func TestNarrow(t *testing.T) {
	b := open(t, synthetic(400, 900), 390, 844)
	b.want(`document.documentElement.scrollWidth`, "390")
	b.shot("narrow-light")
	b.scheme("dark")
	b.shot("narrow-dark")
}

// TestHostileNames: names of partitions that look like markup are text.
func TestHostileNames(t *testing.T) {
	o := regions()
	o.Table = `./{{data}}</title><script>alert(3)</script>`
	b := open(t, o, 1280, 900)
	b.want(`document.querySelector("h1").textContent`, o.Table)
	b.want(`document.title.startsWith("./{{data}}</title>")`, "true")
	b.want(`document.querySelectorAll("script").length`, "2")
	b.want(`document.querySelectorAll("img").length`, "0")
	b.want(`document.querySelectorAll(".squares").length`, "7")
	b.want(`document.querySelectorAll(".squares .warn").length`, "1")
	b.want(`[...document.querySelectorAll(".grid h3")].some((e) => e.textContent === "region=</script><script>alert(1)</script>")`, "true")
	// The policy holds: what somebody gets on the page does not run.
	b.want(`(() => { const s = document.createElement("script"); s.textContent = "window.got = 1"; document.body.append(s); return window.got === undefined })()`, "true")
	b.want(`1`, "1")
	b.mu.Lock()
	refused := slices.ContainsFunc(b.faults, func(f string) bool { return strings.Contains(f, "Content Security Policy") })
	b.faults = slices.DeleteFunc(b.faults, func(f string) bool { return strings.Contains(f, "Content Security Policy") })
	b.mu.Unlock()
	if !refused {
		t.Error("the browser does not say that the policy refused a script")
	}
	b.focus(`.grid [tabindex="0"]`)
	b.press(kb.Home, kb.ArrowDown)
	b.want(`document.activeElement.ariaLabel.split(":")[0]`, o.Partitions[5*32].Partition) // rows are in the order of their names
	b.shot("grid-light")
}

// TestEmpty: a table that no run has changed, and one without partitions.
func TestEmpty(t *testing.T) {
	o := &partition.Overview{Table: "./orders", Time: taken, Partitions: []partition.PartitionOverview{{Live: true, Rows: 12, Bytes: 900, Files: 1}}}
	b := open(t, o, 1280, 900)
	b.want(`document.querySelector("#empty").hidden`, "false")
	b.want(`document.querySelector("#runs").hidden && document.querySelector("#time").hidden && document.querySelector("#calendar").hidden`, "true")
	b.want(firstOf("partitions"), "(table)")
	b.shot("empty-light")
}

// TestPrint: on paper the page is light and has no controls.
func TestPrint(t *testing.T) {
	b := open(t, synthetic(60, 120), 1280, 900)
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	b.want(`getComputedStyle(document.querySelector(".top")).display`, "none")
	b.want(`getComputedStyle(document.querySelector(".controls")).display`, "none")
	b.shot("print")
}
