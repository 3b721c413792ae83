package screen

import (
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"tcpleak/tcp"
	"tcpleak/tracker"
)

// show is a model without a terminal, and the loop that answers it.
type show struct {
	t *testing.T
	w *world
	m *model
}

func newShow(t *testing.T, w *world, width, height int) *show {
	t.Helper()
	s := &show{t, w, newModel(New(Options{Environ: []string{}, Location: time.UTC}), true, true)}
	s.resize(width, height)
	s.answer()
	return s
}

func (s *show) resize(width, height int) { s.m.Update(tea.WindowSizeMsg{Width: width, Height: height}) }

// answer composes what the model wants, until that has no effect on what it wants.
func (s *show) answer() {
	s.t.Helper()
	for range 3 {
		s.w.composer.saved = saveUpTo // somebody who presses keys slowly
		s.m.screen.Show(s.w.compose(s.m.screen.Query()))
		s.m.turned = time.Time{}
		s.m.Update(frameMsg{})
	}
}

var keyCodes = map[string]rune{
	"up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight, "enter": tea.KeyEnter, "esc": tea.KeyEscape,
	"tab": tea.KeyTab, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd, "space": tea.KeySpace,
	"backspace": tea.KeyBackspace,
}

// press presses keys, by their names or one by one, and answers after each. It returns what the last of them asks of bubbletea.
func (s *show) press(keys ...string) (cmd tea.Cmd) {
	s.t.Helper()
	for _, name := range keys {
		if code, ok := keyCodes[name]; ok {
			text := ""
			if name == "space" {
				text = " "
			}
			_, cmd = s.m.Update(tea.KeyPressMsg{Code: code, Text: text})
			s.answer()
			continue
		}
		for _, r := range name {
			_, cmd = s.m.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
			s.answer()
		}
	}
	return cmd
}

// lines are what the terminal shows, without colours and trailing spaces.
func (s *show) lines() []string {
	lines := strings.Split(ansi.Strip(s.m.View().Content), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

func (s *show) text() string { return strings.Join(s.lines(), "\n") }

// has fails unless the text is somewhere on the screen.
func (s *show) has(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		if !strings.Contains(s.text(), text) {
			s.t.Errorf("no %q in\n%s", text, s.text())
		}
	}
}

// tableSize is what the table sets aside.
var tableSize = regexp.MustCompile(`memory [0-9.]+ .B`)

func (s *show) wantText(want string) {
	s.t.Helper()
	if diff := cmp.Diff(want, tableSize.ReplaceAllString(s.text(), "memory SIZE")+"\n"); diff != "" {
		s.t.Errorf("(-want +got)\n%s", diff)
	}
}

func (s *show) hasNot(text string) {
	s.t.Helper()
	if strings.Contains(s.text(), text) {
		s.t.Errorf("%q in\n%s", text, s.text())
	}
}

// column returns what stands in the first column of the rows of the table: the IDs.
func (s *show) ids() (ids []string) {
	head := regexp.MustCompile(`^ +ID`)
	in := false
	for _, line := range s.lines() {
		switch {
		case head.MatchString(line):
			in = true
		case in:
			line = strings.TrimLeft(line, " ●·▸")
			id, _, _ := strings.Cut(line, " ")
			if id == "" || strings.Trim(id, "0123456789") != "" {
				return ids
			}
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *show) wantIDs(want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.ids()); diff != "" {
		s.t.Errorf("connections (-want +got)\n%s\n%s", diff, s.text())
	}
}

func TestOverview(t *testing.T) {
	s := newShow(t, small(), 80, 24)
	want := strings.TrimPrefix(`
tcpleak  eth0  tcp port 80                                              12:02:03
0 packets/s          ▁   0 dropped   9 connections   memory SIZE
STATE       CLIENTS SERVERS  LAST 60 s   STATE       CLIENTS SERVERS  LAST 60 s
UNKNOWN           0       1          ▇   CLOSE_WAIT        0       3          ▇
ESTABLISHED       3       3          ▇   CLOSED            3       2          ▇
FIN_WAIT_2        3       0          ▇
─ Findings 2 warnings ─ Connections 9 ──────────────────────────────────────────
    ID  CLIENT          SERVER         CLIENT STAT  SERVER STAT    FOR  FINDING▲
●    4  10.0.0.2:50001  10.0.1.1:80    FIN_WAIT_2?  CLOSE_WAIT   2m03s  stuck_c…
●    5  10.0.0.2:50002  10.0.1.1:80    FIN_WAIT_2?  CLOSE_WAIT   2m03s  stuck_c…
●    6  10.0.0.2:50003  10.0.1.1:80    FIN_WAIT_2?  CLOSE_WAIT   2m03s  stuck_c…
●    9  10.0.0.4:33000  10.0.1.3:5432  CLOSED?      UNKNOWN      1m57s  unanswe…
     1  10.0.0.1:40001  10.0.1.1:80    ESTABLISHED  ESTABLISHED  2m03s
     2  10.0.0.1:40002  10.0.1.1:80    ESTABLISHED  ESTABLISHED  2m03s
     3  10.0.0.1:40003  10.0.1.1:80    ESTABLISHED  ESTABLISHED  2m03s
     7  10.0.0.3:60001  10.0.1.2:443   CLOSED?      CLOSED?      1m03s
     8  10.0.0.3:60002  10.0.1.2:443   CLOSED?      CLOSED?      1m03s




── Events ──────────────────────────────────────────────────────────────────────
12:02:03 raised  stuck_close_wait server 10.0.1.1:80, 3 connections
↑↓ move  ⏎ open  tab findings  / filter  ←→ sort  p pause  ? help  q quit
`, "\n")
	s.wantText(want)
}

func TestTallTerminalShowsBothLists(t *testing.T) {
	s := newShow(t, small(), 100, 36)
	want := strings.TrimPrefix(`
tcpleak  eth0  tcp port 80                                                                  12:02:03
0 packets/s            ▁   0 dropped   9 connections   memory SIZE
STATE       CLIENTS SERVERS  LAST 60 s             STATE       CLIENTS SERVERS  LAST 60 s
UNKNOWN           0       1                    ▇   CLOSE_WAIT        0       3                    ▇
ESTABLISHED       3       3                    ▇   CLOSED            3       2                    ▇
FIN_WAIT_2        3       0                    ▇
── Findings 2 warnings ─────────────────────────────────────────────────────────────────────────────
  SEVERITY  FINDING           AT FAULT              CONN.  SINCE       FOR
▸ warning   stuck_close_wait  server 10.0.1.1:80        3  12:00:00  2m03s
  warning   unanswered_syn    server 10.0.1.3:5432      1  12:00:00   5.5s
  The server 10.0.1.1:80 has not closed its end, 2m03s after the client 10.0.0.2:50001 closed.
── Connections 9 ───────────────────────────────────────────────────────────────────────────────────
    ID  CLIENT          SERVER         CLIENT STATE  SERVER STATE    FOR  PACKETS  FINDINGS▲
●    4  10.0.0.2:50001  10.0.1.1:80    FIN_WAIT_2?   CLOSE_WAIT    2m03s       11  stuck_close_wait
●    5  10.0.0.2:50002  10.0.1.1:80    FIN_WAIT_2?   CLOSE_WAIT    2m03s       11  stuck_close_wait
●    6  10.0.0.2:50003  10.0.1.1:80    FIN_WAIT_2?   CLOSE_WAIT    2m03s       11  stuck_close_wait
●    9  10.0.0.4:33000  10.0.1.3:5432  CLOSED?       UNKNOWN       1m57s        3  unanswered_syn
     1  10.0.0.1:40001  10.0.1.1:80    ESTABLISHED   ESTABLISHED   2m03s        6
     2  10.0.0.1:40002  10.0.1.1:80    ESTABLISHED   ESTABLISHED   2m03s        6
     3  10.0.0.1:40003  10.0.1.1:80    ESTABLISHED   ESTABLISHED   2m03s        6
     7  10.0.0.3:60001  10.0.1.2:443   CLOSED?       CLOSED?       1m03s       10
     8  10.0.0.3:60002  10.0.1.2:443   CLOSED?       CLOSED?       1m03s       10











── Events ──────────────────────────────────────────────────────────────────────────────────────────
12:02:03 raised  stuck_close_wait server 10.0.1.1:80, 3 connections
↑↓ move  ⏎ open  tab findings  / filter  ←→ sort  r reverse  p pause  ? help  q quit
`, "\n")
	s.wantText(want)
}

func TestColumnsFitTheWidth(t *testing.T) {
	for _, tt := range []struct {
		width int
		want  string
	}{
		{40, "ID CLIENT STATE SERVER STAT FOR"},
		{60, "ID SERVER CLIENT STATE SERVER STATE FOR"},
		{80, "ID CLIENT SERVER CLIENT STA SERVER STA FOR FINDINGS▲"},
		{100, "ID CLIENT SERVER CLIENT STATE SERVER STATE FOR PACKETS FINDINGS▲"},
		{120, "ID CLIENT SERVER CLIENT STATE SERVER STATE FOR PACKETS BYTES RESENT RTT FINDINGS▲"},
	} {
		s := newShow(t, small(), tt.width, 24)
		for _, line := range s.lines() {
			if strings.Contains(line, " STATE") && strings.Contains(line, "ID") {
				if got := strings.Join(strings.Fields(line), " "); got != tt.want {
					t.Errorf("%d columns: %q, want %q", tt.width, got, tt.want)
				}
			}
		}
	}
}

func TestSort(t *testing.T) {
	s := newShow(t, small(), 140, 40)
	s.press("home", "left", "left", "left", "left", "left", "left", "left", "left", "left", "left", "left", "left", "left")
	s.wantIDs("1", "2", "3", "4", "5", "6", "7", "8", "9")
	s.has("ID▲")
	s.press("r")
	s.wantIDs("9", "8", "7", "6", "5", "4", "3", "2", "1")
	s.has("ID▼")
	s.press("right", "right") // the server's address
	s.wantIDs("1", "2", "3", "4", "5", "6", "7", "8", "9")
	s.press("right", "right", "right", "right") // packets
	s.has("PACKETS▼")
	s.wantIDs("4", "5", "6", "7", "8", "1", "2", "3", "9")
}

func TestWorstFirst(t *testing.T) {
	s := newShow(t, small(), 140, 40)
	s.wantIDs("4", "5", "6", "9", "1", "2", "3", "7", "8")
	s.has("Connections 9", "FINDINGS▲")
}

func TestFilter(t *testing.T) {
	s := newShow(t, small(), 120, 40)
	s.press("/", "state:close_wait")
	s.has("/state:close_wait", "3 match")
	if s.m.View().Cursor == nil {
		t.Error("no cursor where one writes")
	}
	s.press("space", "!50001")
	s.wantIDs("5", "6")
	s.press("enter")
	s.has("2 of 9 match state:close_wait !50001")
	if s.m.View().Cursor != nil {
		t.Error("a cursor where nobody writes")
	}
	s.press("/", "xyz", "esc")
	s.wantIDs("5", "6")
	s.press("esc")
	s.has("Connections 9 ")
	if n := len(s.ids()); n != 9 {
		t.Errorf("%d connections after clearing the filter", n)
	}
	s.press("/", "nothing", "enter")
	s.has("No connection matches. Esc clears the filter.")
}

func TestFilterThatCannotBeRead(t *testing.T) {
	s := newShow(t, small(), 80, 24)
	s.press("/", "port:80 port:x")
	s.has("port:x: not a port; as in port:8080", "/port:80 port:x")
	s.press("enter")
	s.has("/port:80 port:x") // until it can be read
	s.press("backspace", "80", "enter")
	s.has("6 of 9 match port:80 port:80")
}

func TestKeysAreTextInAFilter(t *testing.T) {
	s := newShow(t, small(), 80, 24)
	s.press("/", "qp?rcg")
	s.has("/qp?rcg", "0 match")
}

func TestConnectionInDetail(t *testing.T) {
	w := small()
	w.composer.Process = func(c *tracker.Connection) string { return "pid 4242 java" }
	s := newShow(t, w, 100, 60)
	s.press("enter")
	s.has("Connection 4  10.0.0.2:50001 → 10.0.1.1:80", "Process pid 4242 java", "warning stuck_close_wait  server 10.0.1.1:80",
		"Why    The client sent its FIN", "ss -tnp state close-wait", "handshake 1/3: asks to open a connection", "teardown 2/4")
	s.press("esc")
	s.hasNot("handshake")
	s.press("down", "enter")
	s.has("Connection 5 ")
}

func TestDetailScrolls(t *testing.T) {
	s := newShow(t, small(), 60, 16)
	s.press("enter")
	s.has("warning stuck_close_wait")
	s.press("pgdown", "pgdown")
	s.hasNot("warning stuck_close_wait")
	s.press("end")
	s.has("100 %")
	s.hasNot("LAST_ACK")
	s.press("right", "right", "right", "right")
	s.has("CLOSE_WAIT") // the rail on the right
	s.press("home")
	s.has("0 %")
}

func TestForgottenConnectionInDetail(t *testing.T) {
	s := newShow(t, small(), 80, 24)
	s.m.opened, s.m.mode = opened{connection: 4711}, reading
	s.m.Update(nil)
	s.answer()
	s.has("Connection 4711", "This connection has been forgotten")
}

func TestFindingInDetail(t *testing.T) {
	s := newShow(t, small(), 100, 60)
	s.press("tab", "enter")
	s.has("Finding stuck_close_wait", "3 connections, for 2m", "The connection that this is oldest at:", "handshake 1/3")
	s.press("c")
	s.has("3 of 9 match finding:stuck_close_wait server:10.0.1.1:80")
	s.wantIDs("4", "5", "6")
}

func TestConnectionsOfAFinding(t *testing.T) {
	s := newShow(t, small(), 100, 40)
	s.press("tab", "down", "c")
	s.has("1 of 9 match finding:unanswered_syn")
	s.wantIDs("9")
}

func TestPause(t *testing.T) {
	w := small()
	s := newShow(t, w, 100, 40)
	s.press("p")
	before := s.text()
	s.has("PAUSED  12:02:")
	w.talk(9, 999, 257, 80).open()
	w.judge(time.Minute)
	s.answer()
	if diff := cmp.Diff(before, s.text()); diff != "" {
		t.Errorf("it moves (-before +after)\n%s", diff)
	}
	s.press("space")
	s.has("12:03:", "Connections 10")
	s.hasNot("PAUSED")
}

func TestPauseAnswersQuestions(t *testing.T) {
	s := newShow(t, small(), 100, 40)
	s.press("p", "/", "10.0.0.3", "enter")
	s.wantIDs("7", "8")
	s.press("enter")
	s.has("PAUSED", "teardown 4/4")
}

func TestCursorStaysOnItsConnection(t *testing.T) {
	w := small()
	s := newShow(t, w, 100, 40)
	s.press("down") // connection 5
	other := w.talk(2, 50009, 257, 80).open().half()
	w.judge(90 * time.Second)
	for range 3 {
		other.w.composer.order.of.sort = ID // so that there is a new order, whatever the time
		s.answer()
	}
	s.press("enter")
	s.has("Connection 5 ")
}

func TestQuit(t *testing.T) {
	interrupt := tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
	for _, tt := range []struct {
		in  string
		key tea.KeyPressMsg
	}{{"", tea.KeyPressMsg{Code: 'q', Text: "q"}}, {"", interrupt}, {"?", interrupt}, {"/", interrupt}} {
		s := newShow(t, small(), 80, 24)
		s.press(tt.in)
		key := tt.key
		_, cmd := s.m.Update(key)
		if cmd == nil {
			t.Fatalf("%v does nothing", key)
		}
		if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%v does not quit", key)
		}
		if text := s.m.View().Content; text != "" {
			t.Errorf("in the end it shows %q", text)
		}
	}
}

func TestHelpNamesEveryKey(t *testing.T) {
	s := newShow(t, small(), 80, 60)
	s.press("?")
	s.has("filter", "pause", "quit", "reverse", "suspend", "state:CLOSE_WAIT", "presumed")
	s.press("?")
	s.has("Connections 9")
}

func TestNotices(t *testing.T) {
	w := small()
	w.composer.Note(w.now, "eth0 is down\x1b[2J")
	s := newShow(t, w, 80, 24)
	s.has("12:02:03 raised  stuck_close_wait server 10.0.1.1:80, 3 connections", "12:02:03 eth0 is down�[2J")
}

func TestBeforeTheFirstFrame(t *testing.T) {
	m := newModel(New(Options{Environ: []string{}}), true, true)
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	if text := ansi.Strip(m.View().Content); !strings.Contains(text, "Waiting for the first packets.") {
		t.Errorf("it shows\n%s", text)
	}
}

// Findings get older from frame to frame, whether or not they are judged again.
func TestFindingsGetOlderBetweenJudgements(t *testing.T) {
	w := small()
	s := newShow(t, w, 160, 50)
	s.has("2m03s  ", "has not closed its end, 2m03s after")
	w.now += int64(41 * time.Second)
	s.answer()
	s.has("2m44s  ", "has not closed its end, 2m44s after")
	s.hasNot("2m03s")
	s.press("tab", "enter")
	s.has("for 2m44s", "has not closed its end, 2m44s after")
}

func TestNothingWrong(t *testing.T) {
	w := newWorld()
	w.talk(1, 1, 2, 80).open().ask().close()
	w.judge(time.Second)
	s := newShow(t, w, 80, 24)
	s.press("tab")
	s.has("Findings none", "No connection fails to open or to close")
}

// worlds to be shown at every size.
func awkward() *world {
	w := small()
	v6 := w.talk(1, 65535, 2, 65535)
	v6.ends = [2]tcp.Addr{{Hi: 0x20010db812345678, Lo: 0x9abcdef012345678}, {Hi: 0x20010db8aaaabbbb, Lo: 0xccccddddeeeeffff}}
	v6.open().half()
	w.judge(100 * time.Hour)
	w.composer.Process = func(*tracker.Connection) string {
		return "\x1b[31mred\x1b]0;title\a\u202e日本語\r\n\tnul\x00" + strings.Repeat("长", 100)
	}
	w.composer.Name = w.composer.Process // hostile, too
	return w
}

func TestEverySizeIsFilledAndNotMore(t *testing.T) {
	for _, keys := range [][]string{{}, {"tab"}, {"/", "e"}, {"enter"}, {"tab", "enter"}, {"?"}, {"p"}} {
		t.Run(strings.Join(keys, " "), func(t *testing.T) {
			t.Parallel()
			s := newShow(t, awkward(), 80, 24)
			s.press(keys...)
			for width := 1; width <= 200; width += 1 + width/7 {
				for _, height := range []int{1, 2, 3, 5, 10, 13, 14, 20, 24, 30, 50} {
					s.resize(width, height)
					if height == 10 {
						s.answer()
					}
					lines := strings.Split(s.m.View().Content, "\n")
					if len(lines) != height {
						t.Errorf("%d lines of %d at width %d", len(lines), height, width)
					}
					for _, line := range lines {
						if n := ansi.StringWidth(line); n > width {
							t.Fatalf("%d columns of %d: %q", n, width, ansi.Strip(line))
						}
					}
				}
			}
		})
	}
}

// style matches what the screen itself writes between texts.
var style = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func TestHostileText(t *testing.T) {
	w := awkward()
	s := newShow(t, w, 180, 50)
	s.w.composer.table.Add(nil)
	for _, keys := range [][]string{{}, {"enter"}, {"esc", "/", "\u202e\x1b[2J"}, {"enter"}} {
		s.press(keys...)
		f := w.compose(s.m.screen.Query())
		f.Sources, f.Filter = []string{"eth0\x1b[2J\n"}, "port \x9b31m"
		s.m.screen.Show(f)
		s.m.turned = time.Time{}
		s.m.Update(frameMsg{})
		for line := range strings.SplitSeq(style.ReplaceAllString(s.m.View().Content, ""), "\n") {
			for _, r := range line {
				if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e' {
					t.Fatalf("%q in %q after %v", r, line, keys)
				}
			}
		}
	}
}

func TestNoColor(t *testing.T) {
	s := newShow(t, small(), 100, 50)
	s.m.dress(newLook(false, true, true))
	for _, keys := range [][]string{{}, {"enter"}} {
		s.press(keys...)
		for _, code := range style.FindAllString(s.m.View().Content, -1) {
			if strings.Contains(code, "[3") || strings.Contains(code, ";3") || strings.Contains(code, "[4") || strings.Contains(code, "[9") {
				t.Errorf("colour %q", code)
			}
		}
	}
}

func TestColorsOfDarkAndLightTerminals(t *testing.T) {
	for _, tt := range []struct {
		dark       bool
		has, lacks string
	}{{true, "\x1b[33m", "\x1b[35m"}, {false, "\x1b[35m", "\x1b[33m"}} {
		s := newShow(t, small(), 100, 50)
		s.m.dress(newLook(true, tt.dark, true))
		if text := s.m.View().Content; !strings.Contains(text, tt.has) || strings.Contains(text, tt.lacks) {
			t.Errorf("dark %v: %q", tt.dark, text)
		}
	}
}

func TestASCIIWithoutUTF8(t *testing.T) {
	w := small()
	w.composer.Process = func(*tracker.Connection) string { return "java" }
	s := newShow(t, w, 120, 50)
	s.m.dress(newLook(true, true, false))
	for _, keys := range [][]string{{}, {"tab"}, {"enter"}, {"?"}} {
		s.press(keys...)
		for _, r := range s.text() {
			if r >= 0x80 {
				t.Fatalf("%q after %v in\n%s", r, keys, s.text())
			}
		}
	}
}

func TestUnicodeLocale(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{"LANG": "en_US.UTF-8"}, true},
		{map[string]string{"LANG": "C.utf8"}, true},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "de_DE.UTF-8"}, true},
		{map[string]string{}, false},
	} {
		if got := unicodeLocale(func(name string) string { return tt.env[name] }); got != tt.want {
			t.Errorf("%v: %v", tt.env, got)
		}
	}
}

func TestSparkline(t *testing.T) {
	l := newLook(false, true, true)
	for _, tt := range []struct {
		values       []uint32
		known, width int
		want         string
	}{
		{[]uint32{0, 0, 0, 0}, 4, 4, "▁▁▁▁"},
		{[]uint32{0, 1, 50, 100}, 4, 4, "▁▂▄▇"},
		{[]uint32{0, 0, 50, 100}, 2, 4, "  ▄▇"},
		{[]uint32{0, 9, 0, 0}, 4, 2, "▇▁"}, // a peak is not lost
		{[]uint32{1, 2}, 2, 9, "▄▇"},
		{[]uint32{4294967295, 1}, 2, 2, "▇▂"},
		{nil, 0, 3, ""},
		{[]uint32{1}, 1, 0, ""},
	} {
		if got := l.sparkline(tt.values, tt.known, tt.width); got != tt.want {
			t.Errorf("%v in %d: %s, want %s", tt.values, tt.width, got, tt.want)
		}
	}
}

func TestCompact(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 9999: "9999", 10_000: "10.0k", 99_949: "99.9k", 99_950: "100k", 999_499: "999k", 999_500: "1.0M", 1 << 40: "1.1T", 1<<64 - 1: "18.4E",
	} {
		if got := compact(n); got != want || len(got) > 5 {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestFitAddress(t *testing.T) {
	l := newLook(false, true, true)
	const address = "[2001:db8:1234:5678::1]:65535"
	for width := range 40 {
		got := l.fitAddress(address, width)
		if ansi.StringWidth(got) != width {
			t.Errorf("%d columns of %d: %q", ansi.StringWidth(got), width, got)
		}
		if width >= 12 && !strings.HasSuffix(strings.TrimRight(got, " "), ":65535") {
			t.Errorf("no port in %q", got)
		}
	}
}
