package trigger

import (
	"testing"
	"time"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
)

func TestWhatBecomesOfATime(t *testing.T) {
	now, minute := at(t, "2026-01-01T10:00:00Z"), int64(60)
	allow := kubeless.CronJobTriggerSpec{ConcurrencyPolicy: kubeless.AllowConcurrent}
	forbid := kubeless.CronJobTriggerSpec{ConcurrencyPolicy: kubeless.ForbidConcurrent}
	limited := kubeless.CronJobTriggerSpec{StartingDeadlineSeconds: &minute}
	strict := kubeless.CronJobTriggerSpec{StartingDeadlineSeconds: &minute, ConcurrencyPolicy: kubeless.ForbidConcurrent}
	for title, tc := range map[string]struct {
		spec  kubeless.CronJobTriggerSpec
		late  time.Duration // negative: there is none
		calls int
		want  verdict
	}{
		"none is due":                   {allow, -1, 0, nothing},
		"now":                           {allow, 0, 0, begin},
		"while one runs":                {allow, 0, 1, begin},
		"while as many run as may":      {allow, 0, mostAtOnce, nothing},
		"late without a deadline":       {allow, 1000 * time.Hour, 0, begin},
		"forbidden while one runs":      {forbid, 0, 1, nothing},
		"forbidden, and none runs":      {forbid, 0, 0, begin},
		"within the deadline":           {limited, time.Minute, 0, begin},
		"after the deadline":            {limited, time.Minute + time.Second, 0, tooLate},
		"it waited beyond its deadline": {strict, 2 * time.Minute, 1, tooLate},
	} {
		due := time.Time{}
		if tc.late >= 0 {
			due = now.Add(-tc.late)
		}
		if got := judge(&tc.spec, due, tc.calls, now); got != tc.want {
			t.Errorf("%s: %d, want %d", title, got, tc.want)
		}
	}
}
