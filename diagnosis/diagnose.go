package diagnosis

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"tcpleak/tracker"
)

// Threshold is how long the condition of a kind must last before it is a finding.
type Threshold struct {
	Kind Kind
	Age  time.Duration
}

// Rules are the rules with their thresholds. The zero value is not ready: use NewRules. Safe for concurrent use.
type Rules struct{ rules []rule }

// NewRules returns the rules with the default thresholds, except for those given. It refuses kinds that there are not.
func NewRules(thresholds ...Threshold) (*Rules, error) {
	r := &Rules{rules: append([]rule(nil), rules...)}
next:
	for _, t := range thresholds {
		for i := range r.rules {
			if r.rules[i].kind == t.Kind {
				r.rules[i].threshold = t.Age
				continue next
			}
		}
		return nil, fmt.Errorf("there is no finding of kind %q; there are %s", t.Kind, kindList())
	}
	return r, nil
}

// Defaults returns the kinds that have a threshold, with their default.
func Defaults() []Threshold {
	var all []Threshold
	for _, r := range rules {
		all = append(all, Threshold{r.kind, r.threshold})
	}
	return all
}

func kindList() string {
	var kinds []string
	for _, r := range rules {
		kinds = append(kinds, string(r.kind))
	}
	return strings.Join(kinds, ", ")
}

// never is a time that does not come.
const never = int64(math.MaxInt64)

// Diagnose returns what is wrong with c at now (ns since 1970), and false when nothing is. It is a function of its
// arguments: the same connection at the same time gives the same finding. The finding has no ID yet.
func (r *Rules) Diagnose(c *tracker.Connection, now int64) (Finding, bool) {
	rule, s, since := r.first(c)
	if rule == nil || now < add(since, rule.threshold) {
		return Finding{}, false
	}
	age := time.Duration(now - since)
	culprit := rule.culprit(s)
	at := &c.Ends[culprit]
	words := Age(age)
	if s.x.SinceAtLeast {
		words = "at least " + words
	}
	next, command := rule.next(s)
	return Finding{
		Kind: rule.kind, Severity: rule.severity, Certainty: s.x.Certainty,
		Connections: []uint64{c.ID}, Ref: c.Ref,
		Culprit: Culprit{Role: culprit, Addr: at.Addr, Port: at.Port},
		Service: service(&c.Ends[tracker.Server]), Shared: rule.shared && culprit == tracker.Client,
		Since: since, For: age, ForAtLeast: s.x.SinceAtLeast,
		Summary: rule.summary(s, words), Cause: rule.cause(s), Next: next, Command: command,
		Evidence: rule.evidence(s),
	}, true
}

func service(e *tracker.Endpoint) netip.AddrPort { return netip.AddrPortFrom(e.Addr.Netip(), e.Port) }

// Due returns when Diagnose will find something wrong with c if nothing happens to it until then; the greatest int64 if
// never.
func (r *Rules) Due(c *tracker.Connection) int64 {
	rule, _, since := r.first(c)
	if rule == nil {
		return never
	}
	return add(since, rule.threshold)
}

// first returns the first rule that holds, for whom, and since when.
func (r *Rules) first(c *tracker.Connection) (*rule, suspect, int64) {
	if c.Visibility != tracker.BothSides {
		return nil, suspect{}, 0 // what the unseen end has sent is not known
	}
	for i := range r.rules {
		rule := &r.rules[i]
		for role := tracker.Client; role <= tracker.Server; role++ {
			s := suspect{c: c, role: role, x: &c.Ends[role], peer: &c.Ends[role.Peer()]}
			if s.x.State == rule.state {
				return rule, s, s.x.Since
			}
		}
	}
	return nil, suspect{}, 0
}

// add returns t+d without wrapping round: a capture's clock may be absurd.
func add(t int64, d time.Duration) int64 {
	if sum := t + int64(d); sum >= t {
		return sum
	}
	return never
}
