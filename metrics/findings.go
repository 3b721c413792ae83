package metrics

import (
	"cmp"
	"maps"
	"slices"

	"tcpleak/diagnosis"
	"tcpleak/tracker"
)

// findingLabels tell the series of findings apart.
type findingLabels struct {
	kind     diagnosis.Kind
	severity diagnosis.Severity
	service  string
}

// countedFindings is one series of each family of findings.
type countedFindings struct {
	findingLabels
	active, connections int
	raised              uint64
}

type countedProcess struct {
	process string
	kind    diagnosis.Kind
	active  int
}

// maxExamples is how many findings are looked into at a judgement for a service that has no place yet.
const maxExamples = 1000

// admitFindings gives a place to services of new findings, not to wait for the next pass, and keeps those of old ones.
func (m *Metrics) admitFindings(o *Observation) {
	var c tracker.Connection
	examples := 0
	for i := range o.Standing {
		f := &o.Standing[i]
		if !f.Service.IsValid() {
			continue
		}
		s := serviceOf(f.Service)
		if m.services.find(s) < m.services.max {
			m.services.take(s, o.Now)
			continue
		}
		if m.services.room() == 0 || examples == maxExamples {
			continue
		}
		examples++
		// What the kernel says of its own sockets needs no proof.
		about, _ := diagnosis.Explain(f.Kind)
		if about.Kernel || f.Example != 0 && o.Analysis.Connection(f.Example, &c) && proves(&c) {
			m.admit(s, o.Now)
		}
	}
}

// serviceName is the label of a finding's service.
func (m *Metrics) serviceName(f *diagnosis.Finding) string {
	if !f.Service.IsValid() {
		return noService
	}
	return m.serviceAt(m.services.find(serviceOf(f.Service)))
}

// findings counts those that stand, and those that have been raised, and sums up the growth of leaks by service.
func (m *Metrics) findings(o *Observation) ([]countedFindings, map[string]float64) {
	for i := range o.Events {
		if e := &o.Events[i]; e.Change == diagnosis.Raised {
			m.raised[findingLabels{e.Finding.Kind, e.Finding.Severity, m.serviceName(&e.Finding)}]++
		}
	}
	growth := make(map[string]float64)
	standing := make(map[findingLabels]countedFindings)
	for i := range o.Standing {
		f := &o.Standing[i]
		k := findingLabels{f.Kind, f.Severity, m.serviceName(f)}
		if _, ok := m.raised[k]; !ok {
			m.raised[k] = 0 // it has become worse, or its service has got a place since
		}
		n := standing[k]
		n.active++
		n.connections += f.Count
		standing[k] = n
		if f.Growth != nil {
			growth[k.service] += f.Growth.PerMinute
		}
	}
	all := make([]countedFindings, 0, len(m.raised))
	for k, raised := range m.raised {
		n := standing[k]
		n.findingLabels, n.raised = k, raised
		all = append(all, n)
	}
	return all, growth
}

// processes counts the findings whose sockets a process of this host holds.
func (m *Metrics) processes(o *Observation) []countedProcess {
	type series struct {
		process string
		kind    diagnosis.Kind
	}
	active := make(map[series]int)
	for i := range o.Standing {
		f := &o.Standing[i]
		var names []string // a process that has several of the sockets open counts once
		for _, h := range f.Holders {
			if name := label(h.Name); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		for _, name := range names {
			if m.process.take(name, o.Now) == m.process.max {
				name = otherService
			}
			active[series{name, f.Kind}]++
		}
	}
	m.process.clear(o.Now-keepIdle, func(int, string) {})
	all := make([]countedProcess, 0, len(active))
	for _, k := range slices.SortedFunc(maps.Keys(active), func(a, b series) int {
		return cmp.Or(cmp.Compare(a.process, b.process), cmp.Compare(a.kind, b.kind))
	}) {
		all = append(all, countedProcess{k.process, k.kind, active[k]})
	}
	return all
}
