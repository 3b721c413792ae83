package metrics

// places gives each of a bounded number of keys a place. A key keeps its place until it has not been used for keepIdle.
type places[K comparable] struct {
	max  int
	of   map[K]int
	held []holder[K] // by place
	free []int
}

type holder[K comparable] struct {
	key  K
	used int64 // on the capture's clock, ns since 1970
	held bool
}

func newPlaces[K comparable](limit int) places[K] {
	return places[K]{max: limit, of: make(map[K]int)}
}

// room is how many places are left.
func (p *places[K]) room() int { return p.max - len(p.of) }

// find returns the place of k; p.max, which is nobody's, if it has none.
func (p *places[K]) find(k K) int {
	if at, ok := p.of[k]; ok {
		return at
	}
	return p.max
}

// take returns the place of k, used at a time, and gives it one if it has none and there is room.
func (p *places[K]) take(k K, used int64) int {
	at, ok := p.of[k]
	switch {
	case ok:
	case len(p.free) > 0:
		at = p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		p.held[at] = holder[K]{key: k}
	case len(p.held) < p.max:
		at = len(p.held)
		p.held = append(p.held, holder[K]{key: k})
	default:
		return p.max
	}
	p.of[k] = at
	h := &p.held[at]
	h.held, h.used = true, max(h.used, used)
	return at
}

// clear frees the places that have not been used since, and calls gone for each.
func (p *places[K]) clear(since int64, gone func(at int, k K)) {
	for at := range p.held {
		h := &p.held[at]
		if !h.held || h.used >= since {
			continue
		}
		delete(p.of, h.key)
		p.free = append(p.free, at)
		gone(at, h.key)
		*h = holder[K]{}
	}
}
