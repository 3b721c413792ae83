package livepage

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"tcpleak/internal/browser"
)

const (
	ids      = `Array.from(document.querySelectorAll("#rows tr"), r => r.dataset.id)`
	states   = `Array.from(document.querySelectorAll("#rows tr"), r => r.cells[4].textContent)`
	isOpen   = `document.getElementById("opened").open`
	liveText = `document.getElementById("live").textContent`
)

// follow opens the page in a tab and waits until it is told what changes.
func (w *world) follow(t *testing.T, open func(url string) *browser.Tab) *browser.Tab {
	t.Helper()
	b := open(w.server.URL)
	b.Eventually(liveText + ` === "live"`)
	return b
}

func TestInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser.Start(t)
	demo := func(t *testing.T) *world {
		t.Helper()
		w := newWorld(t, "demo.pcap")
		w.judge(0)
		return w
	}
	// keepJudging is what a capture does.
	keepJudging := func(t *testing.T, w *world) {
		t.Helper()
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for tick := time.NewTicker(updateEvery); ; {
				select {
				case <-tick.C:
					w.judge(time.Second)
				case <-stop:
					tick.Stop()
					return
				}
			}
		}()
		t.Cleanup(func() { close(stop); <-ended })
	}

	t.Run("goes with the capture, without a complaint and without asking others", func(t *testing.T) {
		w := demo(t)
		b := w.follow(t, func(url string) *browser.Tab { return browser.Open(t, chromium, url+"/") })
		keepJudging(t, w)
		browser.Is(b, `document.title`, "db1: tcpleak")
		browser.Is(b, `getComputedStyle(document.body).backgroundColor`, "rgb(251, 251, 250)")
		time1 := browser.Eval[string](b, `document.getElementById("time").textContent`)
		b.Eventually(fmt.Sprintf(`document.getElementById("time").textContent !== %q`, time1))
		// The findings are told anew, and the table is asked for again.
		b.Eventually(`performance.getEntriesByType("resource").some(e => e.name.includes("/view/connections"))`)
		browser.Is(b, `document.querySelectorAll("#finding-list article").length > 2`, true)
		messages, requests := b.Noted()
		for _, url := range requests {
			if !strings.HasPrefix(url, w.server.URL+"/") {
				t.Errorf("it asks for %s", url)
			}
		}
		if len(messages) > 0 {
			t.Errorf("%q", messages)
		}
	})

	t.Run("what the script shows is what the server shows", func(t *testing.T) {
		w := demo(t)
		const text = `Array.from(document.querySelectorAll("#facts, #finding-list article, #states, #log, #columns, #rows, #numbers, #drawing"), 
			e => { e = e.cloneNode(true); e.querySelectorAll(".command button").forEach(b => b.remove()); return e.textContent.replace(/\s+/g, "") })`
		without := browser.Open(t, chromium, w.server.URL+"/", browser.WithoutScript())
		want := browser.Eval[[]string](without, text)
		browser.Is(without, liveText, "as of then: reload for more")
		b := w.follow(t, func(url string) *browser.Tab { return browser.Open(t, chromium, url+"/") })
		// From nothing, so that all is made by the script.
		browser.Eval[bool](b, `["facts", "finding-list", "states", "log", "rows", "numbers", "drawing"].forEach(id => (e => e.replaceWith(e.cloneNode(false)))(document.getElementById(id))) === undefined`)
		browser.Eval[bool](b, `document.getElementById("filter").requestSubmit() === undefined`)
		b.Eventually(`document.querySelectorAll("#rows tr").length > 0`)
		// What has not changed is not sent again: another page starts with all of it.
		b.Do(chromedp.Click(chromedp.CSS("#pause")), chromedp.Click(chromedp.CSS("#pause")))
		b.Eventually(`document.querySelectorAll("#finding-list article").length > 0 && document.querySelectorAll("#drawing path").length > 0`)
		got := browser.Eval[[]string](b, text)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-server +script):\n%s", diff)
		}
	})

	t.Run("filters, sorts and turns pages", func(t *testing.T) {
		w := demo(t)
		b := w.follow(t, func(url string) *browser.Tab { return browser.Open(t, chromium, url+"/") })
		keepJudging(t, w)
		b.Do(chromedp.SendKeys(chromedp.CSS("#filter-text"), "state:close_wait"))
		b.Eventually(states + `.length > 0 && ` + states + `.every(s => s === "CLOSE_WAIT")`)
		b.Eventually(`location.search === "?filter=state%3Aclose_wait"`)
		b.Do(chromedp.Click(chromedp.CSS(`#columns a[data-column="id"]`)))
		b.Eventually(`document.querySelector('#columns a[data-column="id"]').parentElement.getAttribute("aria-sort") === "ascending"`)
		first := browser.Eval[string](b, ids+"[0]")
		b.Do(chromedp.Click(chromedp.CSS(`#columns a[data-column="id"]`)))
		b.Eventually(ids + fmt.Sprintf(`.at(-1) === %q`, first))
		b.Do(chromedp.SendKeys(chromedp.CSS("#filter-text"), " age>soon"))
		b.Eventually(`document.getElementById("wrong").textContent.includes("not a duration")`)
		browser.Is(b, ids+".length > 0", true) // what was there stays
		b.Do(chromedp.Click(chromedp.CSS("#all")))
		b.Eventually(`document.getElementById("part").textContent.startsWith("1 to 50 of ")`)
		browser.Is(b, `document.getElementById("filter-text").value`, "")
		b.Do(chromedp.Click(chromedp.CSS("#after")))
		b.Eventually(`document.getElementById("part").textContent.startsWith("51 to ")`)
		// A reload shows the same.
		b.Do(chromedp.Reload())
		browser.Is(b, `document.getElementById("part").textContent.startsWith("51 to ")`, true)
	})

	t.Run("opens a connection by keyboard, and goes on with it", func(t *testing.T) {
		w := demo(t)
		b := w.follow(t, func(url string) *browser.Tab { return browser.Open(t, chromium, url+"/?filter=id:4") })
		keepJudging(t, w)
		b.Do(chromedp.Focus(chromedp.CSS("#rows a")), chromedp.KeyEvent("\r"))
		b.Eventually(isOpen + ` && document.querySelectorAll("#opened svg .box").length > 8`)
		browser.Is(b, `location.hash`, "#c4")
		browser.Is(b, `document.activeElement.id`, "opened-h")
		browser.Is(b, `document.querySelector("#opened-body .owed").textContent.startsWith("Waiting ")`, true)
		browser.Is(b, `document.querySelectorAll("#opened article").length > 0`, true)
		now := `document.querySelector("#opened .facts-line").textContent`
		before := browser.Eval[string](b, now)
		b.Eventually(now + fmt.Sprintf(` !== %q`, before))
		b.Do(chromedp.KeyEvent("\x1b"))
		b.Eventually(`!` + isOpen)
		browser.Is(b, `location.hash`, "")
		browser.Is(b, `document.activeElement.textContent`, "4") // where one was
		// As a link, too.
		c := browser.Open(t, chromium, w.server.URL+"/#c4")
		c.Eventually(isOpen + ` && document.querySelectorAll("#opened svg .box").length > 8`)
		c.Do(chromedp.NavigateBack())
		d := browser.Open(t, chromium, w.server.URL+"/#c999999")
		d.Eventually(isOpen + ` && document.querySelector("#opened .lead").textContent.includes("no such connection")`)
	})

	t.Run("leaves a reader in peace", func(t *testing.T) {
		w := demo(t)
		b := w.follow(t, func(url string) *browser.Tab { return browser.Open(t, chromium, url+"/") })
		b.Do(chromedp.Click(chromedp.CSS("#finding-list details summary")))
		b.Do(chromedp.Focus(chromedp.CSS("#finding-list .links a")))
		focused := browser.Eval[string](b, `document.activeElement.getAttribute("href")`)
		seen := browser.Eval[string](b, `document.querySelector("#finding-list .facts").textContent`)
		keepJudging(t, w)
		b.Eventually(fmt.Sprintf(`document.querySelector("#finding-list .facts").textContent !== %q`, seen))
		browser.Is(b, `document.activeElement.getAttribute("href")`, focused)
		browser.Is(b, `document.querySelector("#finding-list details").open`, true)
		b.Do(chromedp.Click(chromedp.CSS("#pause")))
		browser.Is(b, liveText, "paused")
		waitFor(t, "the stream ends", func() bool { return w.listening() == 0 })
		b.Do(chromedp.Click(chromedp.CSS("#pause")))
		b.Eventually(liveText + ` === "live"`)
		waitFor(t, "there is one again", func() bool { return w.listening() == 1 })
	})

	t.Run("copies a command", func(t *testing.T) {
		const button = `document.querySelector("#finding-list .command button")`
		w := demo(t)
		b := w.follow(t, func(url string) *browser.Tab { return browser.Open(t, chromium, url+"/") })
		command := browser.Eval[string](b, `document.querySelector("#finding-list .command code").textContent`)
		browser.Eval[bool](b, `Object.defineProperty(navigator.clipboard, "writeText", {value: text => { window.copied = text; return Promise.resolve() }}) !== null`)
		b.Do(chromedp.Click(chromedp.JSPath(button)))
		b.Eventually(button + `.textContent === "Copied"`)
		browser.Is(b, `window.copied`, command)
		// Without a clipboard, as on a page that did not come over TLS.
		browser.Eval[bool](b, `Object.defineProperty(navigator, "clipboard", {value: undefined}) && document.addEventListener("copy", () => { window.selected = getSelection().toString() }) === undefined`)
		b.Eventually(button + `.textContent === "Copy"`)
		b.Do(chromedp.Click(chromedp.JSPath(button)))
		b.Eventually(`window.selected === ` + fmt.Sprintf("%q", command))
		// It is there on a connection's own page, and not without script.
		c := browser.Open(t, chromium, w.server.URL+"/connections/4")
		browser.Is(c, `document.querySelectorAll(".command button").length > 0`, true)
		without := browser.Open(t, chromium, w.server.URL+"/", browser.WithoutScript())
		browser.Is(without, `document.querySelectorAll(".command button").length`, 0)
		if messages, _ := b.Noted(); len(messages) > 0 {
			t.Errorf("%q", messages)
		}
	})

	t.Run("says that the agent is silent, and comes back to it", func(t *testing.T) {
		w := demo(t)
		b := w.follow(t, func(url string) *browser.Tab { return browser.Open(t, chromium, url+"/") })
		b.Eventually(liveText + ` === "no news since then"`)
		keepJudging(t, w)
		b.Eventually(liveText + ` === "live"`)
		w.server.CloseClientConnections()
		waitFor(t, "it comes back", func() bool { return w.listening() == 1 })
		b.Eventually(liveText + ` === "live"`)
	})

	t.Run("without script, links lead to the same", func(t *testing.T) {
		w := demo(t)
		b := browser.Open(t, chromium, w.server.URL+"/", browser.WithoutScript())
		browser.Is(b, `document.getElementById("pause").hidden`, true)
		b.Do(chromedp.SendKeys(chromedp.CSS("#filter-text"), "state:CLOSE_WAIT\r"))
		arrived(b, `location.search.includes("CLOSE_WAIT")`)
		browser.Is(b, states+`.every(s => s === "CLOSE_WAIT")`, true)
		b.Do(chromedp.Click(chromedp.CSS(`#columns a[data-column="age"]`)))
		arrived(b, `location.search.includes("sort=age")`)
		b.Do(chromedp.Click(chromedp.CSS(`#rows a`)))
		arrived(b, `location.pathname.startsWith("/connections/")`)
		browser.Is(b, `document.querySelectorAll("svg .box").length > 5`, true)
		if messages, _ := b.Noted(); len(messages) > 0 {
			t.Errorf("%q", messages)
		}
	})

	t.Run("shows what is hostile, and does not run it", func(t *testing.T) {
		w := newWorld(t, "demo.pcap")
		w.process, w.change = hostile, spoil
		w.judge(0)
		b := w.follow(t, func(url string) *browser.Tab { return browser.Open(t, chromium, url+"/") })
		keepJudging(t, w)
		b.Eventually(`performance.getEntriesByType("resource").some(e => e.name.includes("/view/connections"))`)
		b.Do(chromedp.Click(chromedp.CSS("#rows a")))
		b.Eventually(isOpen + ` && document.querySelectorAll("#opened svg .box").length > 5`)
		browser.Is(b, `document.querySelector("h1").textContent.startsWith("</script><img src=x onerror=alert(1)>")`, true)
		browser.Is(b, `document.querySelector("#rows tr").cells[10].textContent.includes("<img")`, true)
		browser.Is(b, `document.querySelector("#opened .facts-line").textContent.includes("<img")`, true)
		browser.Is(b, `document.querySelectorAll("img").length`, 0)
		if messages, _ := b.Noted(); len(messages) > 0 {
			t.Errorf("%q", messages)
		}
		// Were it otherwise, the policy would still stand.
		browser.Eval[bool](b, `document.body.insertAdjacentHTML("beforeend", "<img src=/icon.svg onload='window.ran = true'>") === undefined`)
		waitFor(t, "the browser refuses", func() bool {
			messages, _ := b.Noted()
			return strings.Contains(strings.Join(messages, "\n"), "Content Security Policy")
		})
		browser.Is(b, `window.ran === undefined`, true)
	})

	t.Run("fits a telephone, and is dark where that is wanted", func(t *testing.T) {
		w := demo(t)
		for _, tt := range []struct {
			width int64
			path  string
		}{{360, "/"}, {360, "/#c4"}, {360, "/connections/4"}, {768, "/"}, {1280, "/"}} {
			b := browser.Open(t, chromium, w.server.URL+tt.path, chromedp.EmulateViewport(tt.width, 740), browser.WithMedia("", "dark"))
			if tt.path == "/#c4" {
				b.Eventually(isOpen + ` && document.querySelectorAll("#opened svg .box").length > 8`)
				browser.Is(b, `(d => d.scrollWidth <= d.clientWidth)(document.getElementById("opened"))`, true)
			}
			browser.Is(b, tooWide, []string{})
			browser.Is(b, `getComputedStyle(document.body).backgroundColor`, "rgb(20, 23, 27)")
		}
	})

	t.Run("every control has a name, and no text lies upon another", func(t *testing.T) {
		w := demo(t)
		b := w.follow(t, func(url string) *browser.Tab { return browser.Open(t, chromium, url+"/") })
		browser.Is(b, `Array.from(document.querySelectorAll("a, button, summary")).filter(e => !e.textContent.trim()).length`, 0)
		browser.Is(b, `Array.from(document.querySelectorAll("input:not([type=hidden])")).filter(e => !e.labels.length).length`, 0)
		browser.Is(b, `Array.from(document.querySelectorAll("[id]"), e => e.id).filter((id, i, all) => all.indexOf(id) !== i)`, []string{})
		browser.Is(b, `Array.from(document.querySelectorAll("[aria-labelledby], [aria-describedby]")).flatMap(e => ((e.getAttribute("aria-labelledby") || "") + " " + (e.getAttribute("aria-describedby") || "")).split(" ")).filter(id => id && !document.getElementById(id) && !id.startsWith("ladder"))`, []string{})
		browser.Is(b, overlaps, []string{})
	})
}

// tooWide are the elements that make the page wider than its window.
const tooWide = `document.documentElement.scrollWidth <= innerWidth ? [] : Array.from(document.querySelectorAll("body *")).
	filter(e => !e.closest(".scroll, pre, dialog:not([open])") && e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML.slice(0, 200))`

// arrived waits until an expression is true, on a page that is yet to come.
func arrived(b *browser.Tab, expression string) {
	b.T.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if ok, err := chromedp.Run(b.Ctx, chromedp.Evaluate[bool](expression+` && document.readyState === "complete"`)); err == nil && ok {
			return
		}
		if time.Since(began) > patience {
			b.T.Fatalf("%s: never", expression)
		}
	}
}

// overlaps are the texts of the chart that lie upon another, or reach out of it.
const overlaps = `(() => {
	const svg = document.querySelector("#chart svg"), frame = svg.getBoundingClientRect(), found = [];
	const texts = Array.from(svg.querySelectorAll("text"), e => ({text: e.textContent, box: e.getBoundingClientRect()}));
	texts.forEach((a, i) => {
		if (a.box.left < frame.left - 1 || a.box.right > frame.right + 1 || a.box.bottom > frame.bottom + 1) found.push("out: " + a.text);
		for (const b of texts.slice(i + 1))
			if (Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left) > 1 && Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 3)
				found.push(a.text + " upon " + b.text);
	});
	return found;
})()`
