package jetstream

import "testing"

// What reached nobody takes none of a message's tries.
func TestGiveUp(t *testing.T) {
	var w worked
	delivered := uint64(0)
	for range 2 * tries {
		delivered++
		if giveUp(delivered, w.count(1, false), false) {
			t.Fatalf("given up after %d deliveries that reached nobody", delivered)
		}
	}
	for n := 1; n <= tries; n++ {
		delivered++
		if got := giveUp(delivered, w.count(1, true), true); got != (n == tries) {
			t.Errorf("after %d failures: given up is %v", n, got)
		}
	}
	if !giveUp(patientTries, w.count(2, false), false) {
		t.Error("one that reaches nobody is never given up")
	}
}

// What is counted is bounded, and the latest messages stay.
func TestWorkedIsBounded(t *testing.T) {
	var w worked
	for n := range uint64(3 * maxPending) {
		w.count(n, true)
	}
	if len(w.times) != maxPending {
		t.Errorf("%d messages are counted", len(w.times))
	}
	if n := w.count(3*maxPending-1, true); n != 2 {
		t.Errorf("the last message was worked on %d times", n)
	}
	w.forget(3*maxPending - 1)
	if n := w.count(3*maxPending-1, false); n != 0 {
		t.Errorf("a forgotten message was worked on %d times", n)
	}
}
