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
