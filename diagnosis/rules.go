package diagnosis

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tcpleak/tracker"
)

// Threshold is what it takes to be a finding: how long a condition lasts, or how many there are. Zero is no condition.
type Threshold struct {
	Kind  Kind
	Age   time.Duration
	Count int
}

// ParseThreshold reads KIND=DURATION or KIND=COUNT: which of them a kind takes, Explain tells; a leak takes either. What the
// text does not give is negative: Set leaves it as it is.
func ParseThreshold(text string) (Threshold, error) {
	kind, value, ok := strings.Cut(text, "=")
	if !ok {
		return Threshold{}, errors.New("write KIND=DURATION or KIND=COUNT, as in stuck_close_wait=30s")
	}
	about, err := find(Kind(kind))
	if err != nil {
		return Threshold{}, err
	}
	t := Threshold{Kind: about.Kind, Age: -1, Count: -1}
	count, countErr := strconv.Atoi(value)
	age, ageErr := time.ParseDuration(value)
	switch {
	case about.Age == 0 && about.Count == 0:
		return Threshold{}, fmt.Errorf("%s has no threshold", about.Kind)
	case countErr == nil && about.Count > 0 && count > 0:
		t.Count = count
	case ageErr == nil && about.Age > 0 && age >= 0:
		t.Age = age
	case about.Count == 0:
		return Threshold{}, fmt.Errorf("%q is no duration; write one like 30s or 5m", value)
	case about.Age == 0:
		return Threshold{}, fmt.Errorf("%q is no number above 0", value)
	default:
		return Threshold{}, fmt.Errorf("%q is neither a duration nor a number above 0", value)
	}
	return t, nil
}

// ParseKind returns the kind of the given name.
func ParseKind(name string) (Kind, error) {
	about, err := find(Kind(name))
	return about.Kind, err
}

func find(kind Kind) (About, error) {
	if about, ok := Explain(kind); ok {
		return about, nil
	}
	var names []string
	for _, about := range Kinds() {
		names = append(names, string(about.Kind))
	}
	return About{}, fmt.Errorf("there is no finding of kind %q; there are %s", kind, strings.Join(names, ", "))
}

// Rules say what a finding is. The zero value is not ready: use NewRules. Safe for concurrent use.
type Rules struct {
	thresholds map[Kind]Threshold
	limits     []Threshold // of rules, by index
	minor      []bool      // likewise: what they find is for information
	muted      map[Kind]bool
	forgiven   int64 // see ForgiveGaps
}

// NewRules returns the rules with the default thresholds.
func NewRules() *Rules {
	r := &Rules{thresholds: make(map[Kind]Threshold), limits: make([]Threshold, len(rules)), minor: make([]bool, len(rules)), muted: make(map[Kind]bool)}
	for _, about := range Kinds() {
		r.Set(Threshold{about.Kind, about.Age, about.Count})
		for i := range rules {
			r.minor[i] = r.minor[i] || rules[i].kind == about.Kind && about.Severity == Info
		}
	}
	return r
}

// Set replaces the threshold of a kind, but for what is negative. It must not be called while the rules are in use.
func (r *Rules) Set(t Threshold) {
	old := r.thresholds[t.Kind]
	if t.Age < 0 {
		t.Age = old.Age
	}
	if t.Count < 0 {
		t.Count = old.Count
	}
	r.thresholds[t.Kind] = t
	for i := range rules {
		if rules[i].kind == t.Kind {
			r.limits[i] = t
		}
	}
}

// Mute leaves out the findings of the given kinds. What they would explain is not reported as something else. It must not be
// called while the rules are in use.
func (r *Rules) Mute(kinds ...Kind) {
	for _, kind := range kinds {
		r.muted[kind] = true
	}
}

// ForgiveGaps leaves out of capture_gap what the capture does not hold of connections that began before a time, in ns since
// 1970: it was not meant to. Packets that were dropped remain.
func (r *Rules) ForgiveGaps(before int64) { r.forgiven = before }

// Threshold returns the threshold of a kind.
func (r *Rules) Threshold(kind Kind) Threshold { return r.thresholds[kind] }

// suspect is one end X of a connection, looked at by a rule.
type suspect struct {
	c       *tracker.Connection
	role    tracker.Role
	x, peer *tracker.Endpoint
	now     int64
	due     due // of thresholds that a condition has still to reach
	limit   Threshold
	minor   bool
	crowd   *crowd
}

// reaches reports whether what has held as h says has done so for the threshold. Where that is a matter of time, s remembers when.
func (s *suspect) reaches(h held) bool {
	at := add(h.counts, s.limit.Age)
	if h.ended != 0 {
		return h.ended >= at
	}
	if s.now < at {
		s.due.await(at, s.minor)
	}
	return s.now >= at
}

// held is how long a condition has held, in ns since 1970.
type held struct {
	since  int64
	counts int64 // from when on it counts for the threshold
	ended  int64 // when it had ended, by giving up or by success; 0 if it stands
}

func heldSince(t int64) held { return held{since: t, counts: t} }

func heldFromTo(since, ended int64) held { return held{since: since, counts: since, ended: ended} }

// blame is the end at fault, or nobody; the direction or the end that a finding is about is then named by role alone.
type blame struct {
	role   tracker.Role
	nobody bool
}

// rule is one kind of finding about a connection. It holds for an end when its condition does, for the threshold or longer;
// the rest puts it into words.
type rule struct {
	kind Kind
	// beside is set for what may stand beside another finding about the same connection. Of the others, a connection has
	// one: about the first rule that holds.
	beside   bool
	oneSided bool // it holds whether or not the peer's segments were captured
	moment   bool // it happens in a moment, and does not last
	goesOn   bool // it may happen again as long as the connection speaks
	seen     bool // it rests on segments, not on a state
	shared   bool // connections whose client is at fault are one group, whoever that is: addresses may be forged
	whole    bool // all connections are one group, which is put into words as such

	looksFor signs // it holds only for a connection with one of them: what has none is not asked
	holds    func(s *suspect) (held, bool)
	culprit  func(s *suspect) blame
	summary  func(s *suspect, age string) string
	cause    func(s *suspect) string
	next     func(s *suspect) (advice, command string)
	evidence func(s *suspect) []Evidence
}

// judge yields the rules that hold for the connection of s at s.now, for the end that s then names, and since when: of those
// that stand alone at most one, none if the connection is explained already, and any number beside it. It stops when yield
// returns false. A suspect of its own for each rule would be an allocation each, and four fifths of the time for a million
// connections.
func (r *Rules) judge(s *suspect, explained bool, yield func(*rule, held) bool) {
	c := s.c
	shown := signsOf(c)
	if shown&allSigns == 0 {
		return
	}
	for i := range rules {
		rule := &rules[i]
		if shown&rule.looksFor == 0 || explained && !rule.beside || c.Visibility != tracker.BothSides && !rule.oneSided {
			continue // what the unseen end has sent is not known
		}
		if rule.kind == CaptureGap && c.Start < r.forgiven {
			continue
		}
		s.limit, s.minor = r.limits[i], r.minor[i]
		for role := tracker.Client; role <= tracker.Server; role++ {
			s.role, s.x, s.peer = role, &c.Ends[role], &c.Ends[role.Peer()]
			held, ok := rule.holds(s)
			if !ok || !s.reaches(held) {
				continue
			}
			if !yield(rule, held) {
				return
			}
			explained = explained || !rule.beside
			if !rule.beside || rule.whole {
				break
			}
		}
	}
}

// key returns the group that s belongs to by r.
func (r *rule) key(s *suspect) key {
	if r.whole {
		return key{kind: r.kind}
	}
	k := key{kind: r.kind, service: endpointOf(&s.c.Ends[tracker.Server])}
	b := r.culprit(s)
	k.role = b.role
	if !b.nobody && (!r.shared || k.role == tracker.Server) {
		k.addr = s.c.Ends[k.role].Addr
	}
	return k
}

// last returns when r last held for s, never if it still does.
func (r *rule) last(s *suspect, h held) int64 {
	switch {
	case h.ended != 0:
		return h.ended
	case r.goesOn:
		return s.c.Last
	case r.moment:
		return h.since
	}
	return never
}

// certainty says how far r may be trusted in s.
func (r *rule) certainty(s *suspect) tracker.Certainty {
	if !r.seen {
		return s.x.Certainty
	}
	if s.c.Opened == tracker.Midstream || s.c.Visibility != tracker.BothSides {
		return tracker.Presumed
	}
	return tracker.Confirmed
}

// never is a time that does not come.
const never = tracker.Never

// add returns t+d without wrapping round: a capture's clock may be absurd.
func add(t int64, d time.Duration) int64 {
	if sum := t + int64(d); sum >= t {
		return sum
	}
	return never
}
