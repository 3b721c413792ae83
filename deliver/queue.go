package deliver

import (
	"container/list"

	"tcpleak/diagnosis"
)

// queue holds what waits for one output, the oldest first. Taking in, making room and taking out cost the same however
// much it holds. It is not safe for concurrent use.
type queue struct {
	waiting list.List // of *entry
	updates list.List // of *entry: those of waiting that only say that a finding goes on
	octets  int       // that waiting takes

	sending       int // how many are out, and may come back
	sendingOctets int

	capacity, most int // events and octets, those that are out included
}

type entry struct {
	item   *Item
	place  *list.Element // in waiting
	update *list.Element // in updates, or nil
}

func (q *queue) len() int { return q.waiting.Len() + q.sending }

// push adds the newest, and returns how many were lost for it.
func (q *queue) push(item *Item) (lost int) {
	e := &entry{item: item}
	e.place = q.waiting.PushBack(e)
	if item.Event.Change == diagnosis.Updated {
		e.update = q.updates.PushBack(e)
	}
	q.octets += item.size
	return q.makeRoom()
}

// makeRoom loses what there is no room for. What is being sent stays: it may have arrived. Of the others, updates go
// first: what was raised, and whether it is over, matters more than how it grew.
func (q *queue) makeRoom() (lost int) {
	for q.waiting.Len() > 0 && (q.len() > q.capacity || q.octets+q.sendingOctets > q.most) {
		oldest := q.updates.Front()
		if oldest == nil {
			oldest = q.waiting.Front()
		}
		q.remove(oldest.Value.(*entry))
		lost++
	}
	return lost
}

func (q *queue) remove(e *entry) {
	q.waiting.Remove(e.place)
	if e.update != nil {
		q.updates.Remove(e.update)
	}
	q.octets -= e.item.size
}

// take takes out the oldest: at most n, and no more octets of JSON than given unless the first alone has more. They count
// as held until settle.
func (q *queue) take(n, octets int) []*Item {
	var batch []*Item
	for len(batch) < n && q.waiting.Len() > 0 {
		e := q.waiting.Front().Value.(*entry)
		if octets -= len(e.item.JSON); octets < 0 && len(batch) > 0 {
			break
		}
		q.remove(e)
		batch = append(batch, e.item)
		q.sending++
		q.sendingOctets += e.item.size
	}
	return batch
}

// settle ends what take began: back, the last of the batch, go to where they were.
func (q *queue) settle(back []*Item) {
	q.sending, q.sendingOctets = 0, 0
	for i := len(back) - 1; i >= 0; i-- {
		e := &entry{item: back[i]}
		e.place = q.waiting.PushFront(e)
		if e.item.Event.Change == diagnosis.Updated {
			e.update = q.updates.PushFront(e)
		}
		q.octets += e.item.size
	}
}
