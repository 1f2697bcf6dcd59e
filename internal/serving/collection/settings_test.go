package collection

import (
	"strings"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	s, err := read(map[string]string{
		"retain-since-create-time": "1h", "retain-since-last-active-time": "disabled",
		"min-non-active-revisions": "0", "max-non-active-revisions": "7", "_example": "nothing",
	})
	if want := (settings{time.Hour, -1, 0, 7}); err != nil || s != want {
		t.Errorf("%+v, %v, want %+v", s, err, want)
	}
	if s, err := read(nil); err != nil || s != defaults() {
		t.Errorf("without settings: %+v, %v", s, err)
	}
	for key, bad := range map[string][]string{
		"retain-since-create-time":      {"", "48", "-1h", "ever"},
		"retain-since-last-active-time": {"1d"},
		"min-non-active-revisions":      {"disabled", "-1", "2.5", "1001", "99999999999999999999"},
		"max-non-active-revisions":      {"19", "-1", "many", "100001"},
	} {
		for _, text := range bad {
			if s, err := read(map[string]string{key: text}); err == nil || !strings.Contains(err.Error(), key) || s != defaults() {
				t.Errorf("%s %q: %+v, %v", key, text, s, err)
			}
		}
	}
}

// A time that is disabled does not count; where both are, age alone deletes
// nothing, and where no most is set either, nothing does.
func TestStaleDisabled(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name string
		s    settings
		gone int
	}{
		{"made", settings{sinceMade: -1, sinceRouted: 15 * time.Hour, least: 1, most: -1}, 4},
		{"routed", settings{sinceMade: 1000 * day, sinceRouted: -1, least: 1, most: -1}, 0},
		{"both", settings{sinceMade: -1, sinceRouted: -1, least: 1, most: 3}, 2},
		{"all", settings{sinceMade: -1, sinceRouted: -1, least: 1, most: -1}, 0},
	} {
		if gone, _ := stale(&configuration, reserves(5, 10*day, day), test.s, now); len(gone) != test.gone {
			t.Errorf("%s disabled: %d are stale, want %d", test.name, len(gone), test.gone)
		}
	}
}
