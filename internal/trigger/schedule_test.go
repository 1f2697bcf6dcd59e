package trigger

import (
	"strings"
	"testing"
	"time"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestDue(t *testing.T) {
	for title, tc := range map[string]struct {
		schedule, zone, since, now, want string
		before                           int64
	}{
		"nothing yet":            {"0 * * * *", "", "2026-01-01T10:00:00Z", "2026-01-01T10:59:59Z", "", 0},
		"on the dot":             {"0 * * * *", "", "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", "2026-01-01T11:00:00Z", 0},
		"three, two missed":      {"0 * * * *", "", "2026-01-01T10:00:00Z", "2026-01-01T13:30:00Z", "2026-01-01T13:00:00Z", 2},
		"a clock set back":       {"0 * * * *", "", "2026-01-01T10:00:00Z", "2026-01-01T07:30:00Z", "", 0},
		"a clock set forward":    {"0 0 * * *", "", "2026-01-01T10:00:00Z", "2027-01-01T10:00:00Z", "2027-01-01T00:00:00Z", 364},
		"a zone":                 {"30 9 * * *", "Europe/Berlin", "2026-01-01T00:00:00Z", "2026-01-01T10:00:00Z", "2026-01-01T08:30:00Z", 0},
		"the zone in summer":     {"30 9 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-07-01T10:00:00Z", "2026-07-01T07:30:00Z", 0},
		"a time left out":        {"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", "", 0},
		"an interval":            {"@every 90s", "", "2026-01-01T10:00:00Z", "2026-01-01T10:03:00Z", "2026-01-01T10:03:00Z", 1},
		"years of every second":  {"@every 1s", "", "2020-01-01T00:00:00Z", "2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z", mostMissed},
		"the weekend is no time": {"* * * * 1-5", "", "2026-01-03T10:00:00Z", "2026-01-04T10:00:00Z", "", 0},
	} {
		s, err := scheduleOf(&kubeless.CronJobTriggerSpec{Schedule: tc.schedule, TimeZone: tc.zone})
		if err != nil {
			t.Errorf("%s: %v", title, err)
			continue
		}
		got, before := s.due(at(t, tc.since), at(t, tc.now))
		want := time.Time{}
		if tc.want != "" {
			want = at(t, tc.want)
		}
		if !got.Equal(want) || before != tc.before {
			t.Errorf("%s: %v after %d, want %v after %d", title, got, before, want, tc.before)
		}
	}
}

func TestSchedulesAreRefused(t *testing.T) {
	for title, tc := range map[string]struct{ schedule, zone, says string }{
		"no cron expression":   {"often", "", "spec.schedule"},
		"six fields":           {"0 0 * * * *", "", "spec.schedule"},
		"a minute too many":    {"60 * * * *", "", "spec.schedule"},
		"a day that never is":  {"0 0 30 2 *", "", "never comes"},
		"a zone in the wrong":  {"TZ=UTC 0 0 * * *", "", "use spec.timeZone"},
		"a zone alone":         {"TZ=", "", "use spec.timeZone"},
		"no zone":              {"0 0 * * *", "Middle/Earth", "spec.timeZone"},
		"wherever it may be":   {"0 0 * * *", "Local", "spec.timeZone"},
		"a file of the system": {"0 0 * * *", "../../etc/passwd", "spec.timeZone"},
	} {
		err := CheckSchedule(&kubeless.CronJobTriggerSpec{Schedule: tc.schedule, TimeZone: tc.zone})
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", title, err, tc.says)
		}
	}
}
