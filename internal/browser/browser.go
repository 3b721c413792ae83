// Package browser runs Chromium for tests of pages.
package browser

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// places are where Chromium may be; tools/install-deps.sh looks for the same.
var places = []string{
	"chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
	"/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
}

// Start starts one that the network is not told of, and ends it with the test. Where there is none, the test skips.
func Start(t testing.TB) context.Context {
	t.Helper()
	path := ""
	for _, name := range places {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium here; tools/install-deps.sh test installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WSURLReadTimeout(time.Minute))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", path, err)
	}
	return ctx
}

// A Tab is a page in a browser. It ends with its test, or after a minute.
type Tab struct {
	T   testing.TB
	Ctx context.Context

	mu       sync.Mutex
	messages []string // what the browser has to complain of
	requests []string
}

// Open opens a tab, prepares it, and loads the page at url into it.
func Open(t testing.TB, browser context.Context, url string, prepare ...chromedp.Action[chromedp.Void]) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // its life is not that of the time that follows
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	b := &Tab{T: t, Ctx: ctx}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	b.Do(WithMedia("", "light"))
	b.Do(prepare...)
	b.Do(chromedp.Navigate(url))
	return b
}

func (b *Tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.messages = append(b.messages, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		b.messages = append(b.messages, fmt.Sprintf("exception: %+v", e.ExceptionDetails))
	case *log.EventEntryAdded:
		b.messages = append(b.messages, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

// Noted returns what the browser complains of, and what it asked for.
func (b *Tab) Noted() (messages, requests []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.messages...), append([]string(nil), b.requests...)
}

// Do performs actions, which the test depends on.
func (b *Tab) Do(actions ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	if err := chromedp.Do(b.Ctx, actions...); err != nil {
		b.T.Fatal(err)
	}
}

// Is evaluates an expression in the page and compares the result.
func Is[V any](b *Tab, expression string, want V) {
	b.T.Helper()
	if diff := cmp.Diff(want, Eval[V](b, expression)); diff != "" {
		b.T.Errorf("%s (-want +got):\n%s", expression, diff)
	}
}

// Eval evaluates an expression in the page.
func Eval[V any](b *Tab, expression string) V {
	b.T.Helper()
	got, err := chromedp.Run(b.Ctx, chromedp.Evaluate[V](expression))
	if err != nil {
		b.T.Fatalf("%s: %v", expression, err)
	}
	return got
}

// Eventually waits until an expression is true, for 20 s at most.
func (b *Tab) Eventually(expression string) {
	b.T.Helper()
	if _, err := chromedp.Run(b.Ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(20*time.Second))); err != nil {
		b.T.Fatalf("%s does not come true: %v", expression, err)
	}
}

// WithMedia emulates a kind of medium, "" for a screen, and what its user prefers. Nothing moves: a click would miss it.
func WithMedia(medium, scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: medium, Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	})
}

// WithoutScript turns a page's own scripts off. The tests' expressions are evaluated all the same.
func WithoutScript() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
}
