package tracker

// Forget forgets the connections for which unwanted returns true, as though they had never been, and returns how many: they are
// not counted as evicted. It looks at each. Like Add, it must not be called concurrently with anything else.
func (t *Table) Forget(now int64, unwanted func(*Connection) bool) (n int) {
	var c Connection
	for _, p := range t.parts {
		for i := range p.records.used {
			if !p.at(i).used() {
				continue
			}
			if p.view(i, now, &c); unwanted(&c) {
				p.remove(i)
				n++
			}
		}
	}
	return n
}
