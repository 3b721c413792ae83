package traffic

// event is when the connection in a slot goes on.
type event struct {
	at   int64 // µs since the start
	slot uint32
}

// queue is a heap with four children to a node, the earliest event first: with a million of them it is half as deep as a
// binary one, and container/heap would call through an interface for each comparison.
type queue []event

func (q *queue) push(e event) {
	*q = append(*q, e)
	h := *q
	i := len(h) - 1
	for i > 0 && e.at < h[(i-1)/4].at {
		h[i] = h[(i-1)/4]
		i = (i - 1) / 4
	}
	h[i] = e
}

// delayFirst puts the first event off.
func (q queue) delayFirst(wait int64) {
	e := q[0]
	e.at += wait
	q.sink(e)
}

func (q *queue) removeFirst() {
	h := *q
	last := len(h) - 1
	*q = h[:last]
	if last > 0 {
		q.sink(h[last])
	}
}

// sink puts e in its place, starting from the first, which is free.
func (q queue) sink(e event) {
	i := 0
	for {
		first := 4*i + 1
		if first >= len(q) {
			break
		}
		least := first
		for child := first + 1; child < min(first+4, len(q)); child++ {
			if q[child].at < q[least].at {
				least = child
			}
		}
		if e.at <= q[least].at {
			break
		}
		q[i] = q[least]
		i = least
	}
	q[i] = e
}
