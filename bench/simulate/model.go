package simulate

import (
	"errors"
	"math"
	"slices"
	"time"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/autoscale"
	"redoubt.dev/redoubt/internal/load"
)

// Setup is what a load meets.
type Setup struct {
	Class Class
	// Revision has the annotations and the container concurrency, at least 1,
	// that steer the scale.
	Revision *serving.Revision
	// Service is what a request takes in an instance.
	Service time.Duration
	// Late is the wait beyond which a request counts as late.
	Late time.Duration
	// Queue is how many requests wait at a time before others are lost.
	Queue int
}

// urgentPause is the gateway's, between two reports that a request waits for
// the first instance (internal/gateway/report).
const urgentPause = 100 * time.Millisecond

// epoch is when simulations begin.
var epoch = time.Unix(0, 0)

// Simulate plays rates, a value a second, until every instance has gone or has
// had the time to. The service has none in the beginning.
func Simulate(setup Setup, rates []float64) (*Outcome, error) {
	settings, err := autoscale.SettingsOf(setup.Revision)
	if err != nil {
		return nil, err
	}
	if setup.Revision.Spec.ContainerConcurrency < 1 || len(rates) == 0 {
		return nil, errors.New("a simulation needs a container concurrency of at least 1 and a load of at least a second")
	}
	freeze, _ := setup.Revision.FreezeAfter() // why it is never does not matter here
	m := &model{Setup: setup, settings: settings, freeze: freeze, tracker: autoscale.NewTracker(epoch), told: -urgentPause}
	m.outcome.Needed = int(math.Ceil(slices.Max(rates) * setup.Service.Seconds() / float64(setup.Revision.Spec.ContainerConcurrency)))
	m.run(arrivals(rates), time.Duration(len(rates))*time.Second+settings.Stable+settings.Retention+settings.ScaleDownDelay+time.Minute)
	return &m.outcome, nil
}

// model is a revision, its instances, and the gateway before them. Times are
// since epoch.
type model struct {
	Setup
	settings autoscale.Settings
	freeze   time.Duration // 0 is never
	tracker  *autoscale.Tracker
	now      time.Duration
	events   events

	// pods are the wanted ones, oldest first; as all take the same time to
	// start, the first ready of them are.
	pods    []*instance
	ready   int
	leaving int // deleted, and busy with their last requests
	next    int // where the next search for an instance begins
	waiting []time.Duration
	told    time.Duration // when the last urgent report was
	active  int           // requests, waiting or not
	outcome Outcome

	// What the next report holds.
	area    float64 // request-seconds
	changed time.Duration
	arrived int
}

type instance struct {
	made, awake, idle, frozen time.Duration // frozen is a sum
	active                    int
	deleted                   bool
}

func (m *model) run(requests []time.Duration, end time.Duration) {
	m.events.add(load.Interval, m.tick)
	for m.now < end && (len(requests) > 0 || m.active > 0 || len(m.pods) > 0) {
		if len(requests) > 0 && requests[0] < m.events[0].at {
			m.now, requests = requests[0], requests[1:]
			m.arrive()
			continue
		}
		next := m.events.next()
		m.now = next.at
		next.do()
	}
	m.outcome.Ended = m.now
	for _, i := range m.pods { // those of a least scale
		m.end(i)
	}
}

// tick is a gateway's report, and every other time the scaler's decision.
func (m *model) tick() {
	m.count(0)
	if r := (load.RevisionLoad{Concurrency: m.area / load.Interval.Seconds(), Requests: float64(m.arrived), Waiting: len(m.waiting)}); r.Concurrency > 0 || r.Requests > 0 || r.Waiting > 0 {
		m.report(r)
	}
	m.area, m.arrived = 0, 0
	if m.now%autoscale.Tick == 0 {
		m.decide(false)
	}
	m.events.add(m.now+load.Interval, m.tick)
}

func (m *model) report(r load.RevisionLoad) {
	m.tracker.Report(r, epoch.Add(m.now))
	if r.Waiting > 0 {
		m.decide(true)
	}
}

// decide scales as the scaler and the revision's controller do: an instance
// that is not ready goes before one that is, and a young one before an old.
func (m *model) decide(waiting bool) {
	want := int(m.tracker.Want(m.settings, int32(len(m.pods)), int32(m.ready), waiting, epoch.Add(m.now)))
	for len(m.pods) < want {
		i := &instance{made: m.now, idle: m.now + m.Class.Cold}
		m.pods = append(m.pods, i)
		m.events.add(m.now+m.Class.Cold, func() { m.started(i) })
	}
	for len(m.pods) > want {
		i := m.pods[len(m.pods)-1]
		m.pods = m.pods[:len(m.pods)-1]
		m.ready = min(m.ready, len(m.pods))
		i.deleted = true
		if m.leaving++; i.active == 0 {
			m.left(i)
		}
	}
	m.outcome.MostPods = max(m.outcome.MostPods, len(m.pods)+m.leaving)
}

func (m *model) started(i *instance) {
	if !i.deleted {
		m.ready++
		m.serveQueue()
	}
}

func (m *model) left(i *instance) {
	m.leaving--
	m.end(i)
}

func (m *model) end(i *instance) {
	m.wake(i)
	m.outcome.Frozen += i.frozen
	m.outcome.Running += m.now - i.made - i.frozen
}

// arrive is the gateway's way of a request.
func (m *model) arrive() {
	m.outcome.Requests++
	m.arrived++
	if len(m.waiting) >= m.Queue {
		m.outcome.Lost++
		return
	}
	m.count(1)
	m.waiting = append(m.waiting, m.now)
	m.serveQueue()
	if m.ready == 0 && m.now-m.told >= urgentPause {
		m.told = m.now
		m.report(load.RevisionLoad{Waiting: len(m.waiting)})
	}
}

func (m *model) serveQueue() {
	for len(m.waiting) > 0 {
		i := m.pick()
		if i == nil {
			return
		}
		m.serve(i, m.waiting[0])
		m.waiting = m.waiting[1:]
	}
}

// pick returns the least busy instance that has room, one that runs before a
// frozen one; nil when there is none. The gateway compares two at random
// where there are many, which is nearly as even.
func (m *model) pick() *instance {
	m.next++
	var best *instance
	for at := range m.ready {
		i := m.pods[(m.next+at)%m.ready]
		if i.active >= int(m.Revision.Spec.ContainerConcurrency) {
			continue
		}
		if best == nil || i.active < best.active || i.active == best.active && m.isFrozen(best) && !m.isFrozen(i) {
			best = i
		}
		if best.active == 0 && !m.isFrozen(best) {
			break
		}
	}
	return best
}

func (m *model) isFrozen(i *instance) bool {
	return m.freeze > 0 && i.active == 0 && m.now-i.idle > m.freeze
}

// wake adds up how long an instance was frozen, if it is.
func (m *model) wake(i *instance) {
	if m.isFrozen(i) {
		i.frozen += m.now - i.idle - m.freeze
		i.awake = m.now + m.Class.Thaw
	}
}

func (m *model) serve(i *instance, arrived time.Duration) {
	m.wake(i)
	i.active++
	begins := max(m.now, i.awake)
	m.outcome.waited(begins-arrived, m.Setup)
	m.events.add(begins+m.Service, func() {
		m.count(-1)
		if i.active--; i.active == 0 {
			i.idle = m.now
		}
		switch {
		case !i.deleted:
			m.serveQueue()
		case i.active == 0:
			m.left(i)
		}
	})
}

// count adds up the load, and changes the number of requests.
func (m *model) count(delta int) {
	m.area += float64(m.active) * (m.now - m.changed).Seconds()
	m.changed = m.now
	m.active += delta
}
