package simulate

import (
	"container/heap"
	"time"
)

// event is what happens at a time.
type event struct {
	at time.Duration
	do func()
}

// events are a heap of what is to come.
type events []event

func (e *events) add(at time.Duration, do func()) { heap.Push(e, event{at, do}) }
func (e *events) next() event                     { return heap.Pop(e).(event) }

// These are for the heap alone.

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}
