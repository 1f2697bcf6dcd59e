// Package trigger calls functions for what happens: now, times that come. The
// calls go to the gateway like anybody's, so that a function which is frozen or
// has no instance is woken by them.
package trigger

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a container may have no time zones of its own

	"github.com/robfig/cron/v3"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
)

// CheckSchedule says what is wrong with a trigger's schedule and time zone.
func CheckSchedule(spec *kubeless.CronJobTriggerSpec) error {
	_, err := scheduleOf(spec)
	return err
}

// schedule knows the times of a trigger, in its time zone.
type schedule struct {
	times cron.Schedule
	zone  *time.Location
}

func scheduleOf(spec *kubeless.CronJobTriggerSpec) (schedule, error) {
	zone, err := time.LoadLocation(spec.TimeZone)
	if err != nil || spec.TimeZone == "Local" {
		return schedule{}, fmt.Errorf("spec.timeZone: %q is no time zone, as Europe/Berlin", spec.TimeZone)
	}
	if strings.Contains(spec.Schedule, "TZ=") {
		return schedule{}, fmt.Errorf("spec.schedule: %q names a time zone; use spec.timeZone", spec.Schedule)
	}
	times, err := cron.ParseStandard(spec.Schedule)
	if err != nil {
		return schedule{}, fmt.Errorf("spec.schedule: %q cannot be read: %w", spec.Schedule, err)
	}
	s := schedule{times, zone}
	if s.next(time.Now()).IsZero() {
		return schedule{}, fmt.Errorf("spec.schedule: %q never comes", spec.Schedule)
	}
	return s, nil
}

// next is the first time after t.
func (s schedule) next(t time.Time) time.Time { return s.times.Next(t.In(s.zone)) }

// mostMissed is how many times are counted that passed without a call.
const mostMissed = 100_000

// due returns the last time after since and not after now, zero if there is
// none, and how many there were before it. A clock that was set back has no
// times due that have been served already.
func (s schedule) due(since, now time.Time) (last time.Time, before int64) {
	for t := s.next(since); !t.IsZero() && !t.After(now); t = s.next(t) {
		if !last.IsZero() {
			before++
		}
		last = t
		if before == mostMissed {
			// Too far back to count: what is due now is all that matters.
			return s.lastBefore(now), before
		}
	}
	return last, before
}

// lastBefore is the last time not after now of a schedule that has many.
func (s schedule) lastBefore(now time.Time) time.Time {
	const far = 24 * time.Hour // a schedule with so many missed times has some within a day
	var last time.Time
	for t := s.next(now.Add(-far)); !t.IsZero() && !t.After(now); t = s.next(t) {
		last = t
	}
	return last
}
