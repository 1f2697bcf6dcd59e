package balance

// queue holds waiting requests in order of their arrival. It is a ring of
// links, so that one in the middle can leave.
type queue struct {
	root waiter // its next is the oldest
	n    int
}

// waiter is one waiting request.
type waiter struct {
	// granted receives exactly once when the waiter is popped: an instance, or
	// nil when none can come.
	granted    chan *Instance
	next, prev *waiter
}

func (q *queue) len() int { return q.n }

// push adds a waiter, nil when the queue is full.
func (q *queue) push() *waiter {
	if q.n >= maxWaiting {
		return nil
	}
	if q.root.next == nil {
		q.root.next, q.root.prev = &q.root, &q.root
	}
	w := &waiter{granted: make(chan *Instance, 1), next: &q.root, prev: q.root.prev}
	w.prev.next, q.root.prev = w, w
	q.n++
	return w
}

// pop removes the oldest, nil when there is none.
func (q *queue) pop() *waiter {
	if q.n == 0 {
		return nil
	}
	w := q.root.next
	q.remove(w)
	return w
}

// remove takes w out and says whether it was still in.
func (q *queue) remove(w *waiter) bool {
	if w.next == nil {
		return false
	}
	w.prev.next, w.next.prev = w.next, w.prev
	w.next, w.prev = nil, nil
	q.n--
	return true
}
