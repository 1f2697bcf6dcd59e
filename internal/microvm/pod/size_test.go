package pod

import "testing"

func TestMachineFollowsTheLimit(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct{ limit, boot, machine int64 }{
		{0, 512 * mib, 512 * mib},
		{1 * mib, 128 * mib, 128 * mib},
		{64 * mib, 128 * mib, 128 * mib},
		{128 * mib, 128 * mib, 192 * mib},
		{192*mib + 1, 256 * mib, 256 * mib},
		{448 * mib, 512 * mib, 512 * mib},
		{4096 * mib, 512 * mib, 4160 * mib},
	} {
		s := Size{Memory: test.limit}
		if got := s.boot(); got != test.boot {
			t.Errorf("limit %d MiB: boots with %d MiB, want %d", test.limit/mib, got/mib, test.boot/mib)
		}
		if got := max(s.machine(), s.boot()); got != test.machine {
			t.Errorf("limit %d MiB: a machine of %d MiB, want %d", test.limit/mib, got/mib, test.machine/mib)
		}
		if over := max(s.machine(), s.boot()) - test.limit - guestOverhead; test.limit >= 64*mib && over > 0 {
			t.Errorf("limit %d MiB: %d bytes more than limit and overhead", test.limit/mib, over)
		}
	}
}

func TestSizeFollowsItsContainers(t *testing.T) {
	for _, test := range []struct{ pod, from, to, want Size }{
		{Size{300, 1500}, Size{100, 500}, Size{200, 250}, Size{400, 1250}},
		{Size{300, 1500}, Size{100, 0}, Size{0, 500}, Size{300, 1500}},     // no limit, before or after
		{Size{0, 0}, Size{100, 500}, Size{200, 1000}, Size{0, 0}},          // another container has none
		{Size{100, 500}, Size{300, 900}, Size{200, 1000}, Size{200, 1000}}, // a pod's size that was not its containers'
	} {
		if got := test.pod.Changed(test.from, test.to); got != test.want {
			t.Errorf("%v from %v to %v: got %v, want %v", test.pod, test.from, test.to, got, test.want)
		}
	}
	for cpu, want := range map[int64]uint32{0: 1, 1: 1, 1000: 1, 1001: 2, 2500: 3} {
		if got := (Size{CPU: cpu}).processors(); got != want {
			t.Errorf("%d thousandths: %d processors, want %d", cpu, got, want)
		}
	}
}
