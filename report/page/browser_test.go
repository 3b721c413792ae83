package page_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"tcpleak/diagnosis"
	"tcpleak/internal/browser"
	"tcpleak/ladder"
	"tcpleak/report/page"
)

// open opens a file in a tab.
func open(t *testing.T, in context.Context, file string, prepare ...chromedp.Action[chromedp.Void]) *browser.Tab {
	t.Helper()
	return browser.Open(t, in, "file://"+file, prepare...)
}

func is[V any](b *browser.Tab, expression string, want V) {
	b.T.Helper()
	browser.Is(b, expression, want)
}

func eval[V any](b *browser.Tab, expression string) V {
	b.T.Helper()
	return browser.Eval[V](b, expression)
}

const (
	visibleIDs = `Array.from(document.querySelectorAll("#connections-table tbody tr:not([hidden])")).map(r => r.cells[0].textContent)`
	header     = `document.querySelectorAll("#connections-table thead th")`
	inView     = `(id => { const r = document.getElementById(id).getBoundingClientRect(); return r.height > 0 && r.top < innerHeight && r.bottom > 0 })`
)

func TestInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser.Start(t)
	dir := t.TempDir()
	demo := save(t, dir, "demo", load(t, "demo.pcap"))

	t.Run("opens without a complaint, and asks for nothing", func(t *testing.T) {
		b := open(t, chromium, demo)
		is(b, `document.title`, "demo.pcap: tcpleak report")
		is(b, `getComputedStyle(document.body).backgroundColor`, "rgb(251, 251, 250)") // so the style is let through
		is(b, `document.getElementById("filter").hidden`, false)                       // and the script
		messages, requests := b.Noted()
		if diff := cmp.Diff([]string{"file://" + demo}, requests); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if len(messages) > 0 {
			t.Errorf("%q", messages)
		}
	})

	t.Run("says what leaks on the first screen", func(t *testing.T) {
		b := open(t, chromium, demo, chromedp.EmulateViewport(1280, 800))
		for _, what := range []string{".verdict", "#f1 h3", "#f1 .facts", "#f1 .command", "#growth-f1 svg"} {
			is(b, fmt.Sprintf(`document.querySelector(%q).getBoundingClientRect().bottom <= innerHeight`, what), true)
		}
	})

	t.Run("sorts", func(t *testing.T) {
		b := open(t, chromium, demo)
		click := func(column int) {
			b.Do(chromedp.Click(chromedp.JSPath(fmt.Sprintf(`%s[%d].querySelector("button")`, header, column))))
		}
		ids := func(n int) string { return visibleIDs + fmt.Sprintf(".slice(0, %d)", n) }
		is(b, ids(4), []string{"4", "10", "15", "20"})
		click(7) // bytes, the most first
		is(b, ids(4), []string{"1", "2", "5", "4"})
		is(b, header+`[7].getAttribute("aria-sort")`, "descending")
		click(7)
		is(b, ids(3), []string{"82", "84", "86"})
		is(b, header+`[7].getAttribute("aria-sort")`, "ascending")
		click(4) // the server's state, in the alphabet
		is(b, `Array.from(document.querySelectorAll("#connections-table tbody tr")).map(r => r.cells[4].textContent).filter((s, i, all) => s !== all[i-1])`,
			[]string{"CLOSE_WAIT", "ESTABLISHED", "SYN_RCVD?"})
		is(b, header+`[7].hasAttribute("aria-sort")`, false)
		// By keyboard, too.
		b.Do(chromedp.Focus(chromedp.JSPath(header+`[0].querySelector("button")`)), chromedp.KeyEvent("\r"))
		is(b, ids(5), []string{"1", "2", "4", "5", "10"})
		is(b, `document.activeElement.textContent`, "ID")
	})

	t.Run("filters", func(t *testing.T) {
		b := open(t, chromium, demo)
		choose := func(id, value string) {
			eval[bool](b, fmt.Sprintf(`(e => { e.value = %q; return e.dispatchEvent(new Event("input", {bubbles: true})) })(document.getElementById(%q))`, value, id))
		}
		is(b, `document.getElementById("filter-count").textContent`, "22 of 22 shown")
		b.Do(chromedp.SendKeys(chromedp.CSS("#filter-text"), "10.77.0.9 50002"))
		is(b, visibleIDs, []string{"84"})
		is(b, `document.getElementById("filter-count").textContent`, "1 of 22 shown")
		choose("filter-text", "")
		choose("filter-state", "SYN_SENT")
		is(b, visibleIDs, []string{"82", "84", "86"})
		choose("filter-state", "")
		choose("filter-kind", "leak")
		is(b, visibleIDs, []string{"63", "68", "74", "79"})
		// A link to what is filtered away shows all again.
		b.Do(chromedp.Click(chromedp.CSS(`#f3 .links a[href="#c82"]`)))
		b.Eventually(inView + `("c82")`)
		is(b, visibleIDs+".length", 22)
		is(b, `document.getElementById("filter-count").textContent`, "22 of 22 shown")
	})

	t.Run("leads from a finding to its ladder", func(t *testing.T) {
		b := open(t, chromium, demo, chromedp.EmulateViewport(1280, 800))
		is(b, inView+`("l4")`, false)
		b.Do(chromedp.Click(chromedp.CSS(`#f2 .links a[href="#l4"]`)))
		is(b, `location.hash`, "#l4")
		b.Eventually(inView + `("l4")`)
		b.Do(chromedp.Click(chromedp.CSS(`.side a[href="#f3"]`)))
		b.Eventually(inView + `("f3")`)
	})

	t.Run("leads into what is folded", func(t *testing.T) {
		r := repeated(4, stuck(1), 1, 2)
		for id := 1; id <= 2; id++ {
			f := stuckFinding(id, 4)
			f.Severity, f.Example = diagnosis.Info, uint64(id)
			r.Findings = append(r.Findings, f)
		}
		b := open(t, chromium, save(t, dir, "folded", page.Page{Report: r}))
		is(b, inView+`("l2")`, false)
		b.Do(chromedp.Click(chromedp.CSS(`#c2 a[href="#l2"]`)))
		b.Eventually(inView + `("l2")`)
	})

	t.Run("copies a command", func(t *testing.T) {
		b := open(t, chromium, demo)
		eval[bool](b, `Object.defineProperty(navigator.clipboard, "writeText", {value: text => { window.copied = text; return Promise.resolve() }}) !== null`)
		b.Do(chromedp.Click(chromedp.CSS("#f1 .command button")))
		b.Eventually(`document.querySelector("#f1 .command button").textContent === "Copied"`)
		is(b, `window.copied`, "ss -tnp state close-wait '( sport = :8080 )'")
	})

	t.Run("is complete without script", func(t *testing.T) {
		b := open(t, chromium, demo, browser.WithoutScript())
		// The tests' own expressions are evaluated all the same.
		is(b, `document.getElementById("filter").hidden`, true)
		is(b, `document.querySelectorAll("button").length`, 0)
		is(b, visibleIDs+".length", 22)
		is(b, `document.querySelectorAll("#f1 .ladder svg .box").length`, 11)
	})

	t.Run("is dark where that is wanted", func(t *testing.T) {
		b := open(t, chromium, demo, browser.WithMedia("", "dark"))
		is(b, `getComputedStyle(document.body).backgroundColor`, "rgb(20, 23, 27)")
		is(b, `getComputedStyle(document.querySelector(".box.s7")).fill`, "rgb(255, 140, 115)")
	})

	t.Run("fits a telephone", func(t *testing.T) {
		for _, width := range []int64{360, 768, 1280} {
			b := open(t, chromium, demo, chromedp.EmulateViewport(width, 740))
			is(b, `document.documentElement.scrollWidth`, int(width))
		}
	})

	t.Run("prints", func(t *testing.T) {
		b := open(t, chromium, demo)
		pdf, err := chromedp.Run(b.Ctx, chromedp.PrintToPDF())
		if err != nil {
			t.Fatal(err)
		}
		if sheets := bytes.Count(pdf, []byte("/Type /Page\n")); !bytes.HasPrefix(pdf, []byte("%PDF-")) || sheets < 3 || sheets > 15 {
			t.Errorf("%d sheets in %d bytes that begin with %.20q", sheets, len(pdf), pdf)
		}
		is(b, `document.querySelectorAll("details[open]").length`, 0) // as it was
		b.Do(browser.WithMedia("print", "light"))
		is(b, `getComputedStyle(document.getElementById("filter")).display`, "none")
		is(b, `getComputedStyle(document.querySelector(".side")).display`, "none")
		is(b, `document.querySelector("details.about p").getBoundingClientRect().height > 0`, true)
	})

	t.Run("no text lies upon another", func(t *testing.T) {
		for _, file := range []string{"demo.pcap", "findings/several-at-once.pcap", "findings/path-loss.pcap", "findings/accept-queue-full.pcap",
			"findings/aborted-data-after-close.pcap", "findings/stuck-closing.pcap"} {
			legible(t, chromium, save(t, dir, filepath.Base(file), load(t, file)))
		}
		r := repeated(3, stuck(1), 1)
		r.Findings = []diagnosis.Finding{stuckFinding(1, 3)}
		legible(t, chromium, save(t, dir, "long", page.Page{Report: r, Ladders: []ladder.Ladder{widest()}}))
	})

	t.Run("shows what is hostile, and does not run it", func(t *testing.T) {
		r := repeated(3, stuck(1), 1)
		r.Capture.Sources[0].Name = hostile
		f := stuckFinding(1, 3)
		f.Summary, f.Cause, f.Command = hostile, hostile, hostile
		r.Findings = append(r.Findings, f)
		b := open(t, chromium, save(t, dir, "hostile", page.Page{Report: r}))
		is(b, `document.querySelector("h1").textContent.startsWith("</style></title><script>alert(1)")`, true)
		is(b, `document.querySelectorAll("img, h1 script").length`, 0)
		if messages, _ := b.Noted(); len(messages) > 0 {
			t.Errorf("%q", messages)
		}
		// Were it otherwise, the policy would still stand.
		eval[bool](b, `document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = true'>") === undefined`)
		b.Eventually(`true`)
		messages, _ := b.Noted()
		for deadline := time.Now().Add(10 * time.Second); len(messages) == 0 && time.Now().Before(deadline); messages, _ = b.Noted() {
			eval[int](b, "1")
		}
		if got := strings.Join(messages, "\n"); !strings.Contains(got, "Content Security Policy") {
			t.Errorf("the browser says %q", got)
		}
		is(b, `window.ran === undefined`, true)
	})
}

// save writes a page to a file.
func save(t *testing.T, dir, name string, p page.Page) string {
	t.Helper()
	file := filepath.Join(dir, strings.TrimSuffix(name, ".pcap")+".html")
	if err := os.WriteFile(file, []byte(write(t, p)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// widest has steps with as much to say as there can be.
func widest() ladder.Ladder {
	l := long(30)
	for i := range l.Steps {
		s := &l.Steps[i]
		s.Kind = ladder.Kind(i % 3)
		s.Packet = uint64(4_000_000_000 + i)
		s.Segments, s.Payload, s.Again = [2]uint64{12_345, 12_345}, [2]uint64{9_876_543_210, 9_876_543_210}, [2]uint64{7, 7}
		s.Phase, s.Flags = "teardown 2/4 and 3/4", 0x1ff
		s.Note = "acknowledges what the capture does not hold: the capture missed packets of the server; again: the ACK has passed here"
		s.Time += int64(i) * int64(time.Minute)
		s.Last = s.Time + int64(30*time.Second)
		s.Changed = [2]bool{i%2 == 0, i%4 < 2}
	}
	return l
}

// legible checks that in no picture of a page a text lies upon another, or reaches out of the picture.
func legible(t *testing.T, chromium context.Context, file string) {
	t.Helper()
	b := open(t, chromium, file, chromedp.EmulateViewport(1280, 800))
	eval[bool](b, `document.querySelectorAll("details").forEach(d => d.open = true) === undefined`)
	// The widest of the fonts that a system may take; where it has none, it is its own again.
	for _, fonts := range []string{"", `"DejaVu Sans", Verdana`} {
		if fonts != "" {
			eval[bool](b, fmt.Sprintf(`["--sans", "--mono"].forEach(f => document.documentElement.style.setProperty(f, f === "--sans" ? %q : '"DejaVu Sans Mono", monospace')) === undefined`, fonts))
		}
		for _, complaint := range eval[[]string](b, complaints) {
			t.Errorf("%s: %s (fonts: %s)", filepath.Base(file), complaint, fonts)
		}
	}
}

// complaints are those of legible.
const complaints = `(() => {
		const found = [];
		for (const svg of document.querySelectorAll("svg")) {
			const frame = svg.getBoundingClientRect();
			const texts = Array.from(svg.querySelectorAll("text"), e => ({text: e.textContent, box: e.getBoundingClientRect()}));
			const most = 1; // a pixel
			texts.forEach((a, i) => {
				if (a.box.left < frame.left - most || a.box.right > frame.right + most || a.box.top < frame.top - most || a.box.bottom > frame.bottom + most)
					found.push("out of the picture: " + a.text);
				for (const b of texts.slice(i + 1)) {
					const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
					const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
					// Lines of a paragraph are as close as their letters allow.
					if (wide > most && high > 3) found.push(a.text + " upon " + b.text);
				}
			});
		}
		return found;
	})()`
