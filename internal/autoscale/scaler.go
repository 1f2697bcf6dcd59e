package autoscale

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/load"
)

const (
	// Tick is how often scales are decided when nothing urgent happens.
	Tick = 2 * time.Second
	// redial is the pause before a gateway that went away is asked again.
	redial = 500 * time.Millisecond
	// silence is how long a gateway may say nothing before it is taken to have gone
	// away, as with its node: the kernel finds that out in half a minute or more, and
	// nobody would be told of requests that wait at the next one.
	silence = 10 * load.Interval
	// maxReport bounds a line of a gateway's answer, in bytes.
	maxReport = 4 << 20
)

// Spares are instances that wait for a revision to need them.
type Spares interface {
	// Prepare begins to make one an instance of rev, and does not wait.
	Prepare(rev *serving.Revision)
}

// Scaler listens to the gateways and writes the decisions to the revisions'
// status. It runs in one controller at a time, the leader.
type Scaler struct {
	Client client.Client
	// Live reads from the API server what the client's cache leaves out.
	Live client.Reader
	// Gateways are the admin addresses, host:port.
	Gateways []string
	// Spares are told of a revision that somebody waits for, before its scale is
	// written.
	Spares Spares
	Log    logr.Logger
	// Events says of a revision why it is not scaled.
	Events events.EventRecorder

	// These are Start's own.
	measured  time.Time               // when the metrics API was asked last
	reclaimed map[types.UID]time.Time // instances that made room and may not be gone yet, since when
	lent      map[types.UID]time.Time // instances that lend and may not have yet, since when
	mu        sync.Mutex
	revisions map[types.NamespacedName]*Tracker // guarded by mu
}

// Start runs until ctx ends.
func (s *Scaler) Start(ctx context.Context) error {
	s.revisions = map[types.NamespacedName]*Tracker{}
	s.reclaimed, s.lent = map[types.UID]time.Time{}, map[types.UID]time.Time{}
	var listeners sync.WaitGroup
	defer listeners.Wait()
	for _, gateway := range s.Gateways {
		listeners.Go(func() { s.listen(ctx, gateway) })
	}
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			s.decideAll(ctx, now)
		}
	}
}

// listen follows one gateway's reports for as long as ctx lasts.
func (s *Scaler) listen(ctx context.Context, gateway string) {
	for ctx.Err() == nil {
		if err := s.follow(ctx, gateway, silence); err != nil && ctx.Err() == nil {
			s.Log.V(1).Info("gateway reports no load", "gateway", gateway, "error", err.Error())
		}
		select {
		case <-ctx.Done():
		case <-time.After(redial):
		}
	}
}

// follow takes reports until the gateway ends them, or there are none for so long.
func (s *Scaler) follow(ctx context.Context, gateway string, silence time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(silence, func() { cancel(fmt.Errorf("it said nothing for %v", silence)) })
	defer silent.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gateway+load.Path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("gateway answered %s", resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxReport)
	for lines.Scan() {
		silent.Stop() // a decision may take a while
		var report load.Report
		if err := json.Unmarshal(lines.Bytes(), &report); err != nil {
			return fmt.Errorf("read report: %w", err)
		}
		s.take(ctx, report, time.Now())
		silent.Reset(silence)
	}
	return lines.Err()
}

// take records a report, and decides at once for a revision that somebody
// waits for.
func (s *Scaler) take(ctx context.Context, report load.Report, now time.Time) {
	for _, r := range report.Revisions {
		key := types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
		s.mu.Lock()
		s.tracker(key, now).Report(r, now)
		s.mu.Unlock()
		if r.Waiting > 0 {
			s.decideOne(ctx, key, true, now)
		}
	}
}

// tracker returns what is remembered of a revision; s.mu is held.
func (s *Scaler) tracker(key types.NamespacedName, now time.Time) *Tracker {
	t := s.revisions[key]
	if t == nil {
		t = NewTracker(now)
		s.revisions[key] = t
	}
	return t
}

func (s *Scaler) decideOne(ctx context.Context, key types.NamespacedName, waiting bool, now time.Time) {
	var rev serving.Revision
	if err := s.Client.Get(ctx, key, &rev); err != nil {
		if client.IgnoreNotFound(err) != nil {
			s.Log.Error(err, "read revision", "revision", key)
		}
		return
	}
	if err := s.decide(ctx, &rev, routed, waiting, now); err != nil {
		s.Log.Error(err, "scale revision", "revision", key)
	}
}

// decideAll decides for every revision and forgets those that are gone.
func (s *Scaler) decideAll(ctx context.Context, now time.Time) {
	var revisions serving.RevisionList
	// They are only read, and there may be many: no copies are made.
	if err := s.Client.List(ctx, &revisions, client.UnsafeDisableDeepCopy); err != nil {
		s.Log.Error(err, "list revisions")
		return
	}
	standings, err := s.standings(ctx)
	if err != nil {
		s.Log.Error(err, "list routes")
		return
	}
	s.measureAll(ctx, revisions.Items, now)
	present := map[types.NamespacedName]bool{}
	for i := range revisions.Items {
		rev := &revisions.Items[i]
		present[client.ObjectKeyFromObject(rev)] = true
		if err := s.decide(ctx, rev, standings[client.ObjectKeyFromObject(rev)], false, now); client.IgnoreNotFound(err) != nil {
			s.Log.Error(err, "scale revision", "revision", client.ObjectKeyFromObject(rev))
		}
	}
	if err := s.reclaim(ctx, revisions.Items, now); err != nil {
		s.Log.Error(err, "make room for pods that wait")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.revisions {
		if !present[key] {
			delete(s.revisions, key)
		}
	}
}

// standing is what a revision is to the routes.
type standing int

const (
	retired standing = iota // none leads to it
	newest                  // of its configuration: one soon will
	routed
)

// standings are those of the revisions that are not retired.
func (s *Scaler) standings(ctx context.Context) (map[types.NamespacedName]standing, error) {
	var routes serving.RouteList
	var configs serving.ConfigurationList
	if err := errors.Join(s.Client.List(ctx, &routes, client.UnsafeDisableDeepCopy), s.Client.List(ctx, &configs, client.UnsafeDisableDeepCopy)); err != nil {
		return nil, err
	}
	found := map[types.NamespacedName]standing{}
	for i := range configs.Items {
		found[types.NamespacedName{Namespace: configs.Items[i].Namespace, Name: configs.Items[i].Status.LatestCreatedRevisionName}] = newest
	}
	for i := range routes.Items {
		for _, target := range routes.Items[i].Status.Traffic {
			found[types.NamespacedName{Namespace: routes.Items[i].Namespace, Name: target.RevisionName}] = routed
		}
	}
	return found, nil
}

// decide writes the wanted scale of rev if it changes. A revision that is not
// proven keeps its initial scale, as nothing is known of its load yet, until it
// is hopeless. One that no route leads to is kept at no least scale.
func (s *Scaler) decide(ctx context.Context, rev *serving.Revision, at standing, waiting bool, now time.Time) error {
	settings, err := SettingsOf(rev)
	if err != nil || rev.Status.DesiredReplicas == nil {
		return nil // the revision's status names the fault
	}
	if at == retired {
		settings.Min = 0
	}
	var want int32
	switch {
	case rev.Status.Conditions.IsTrue(serving.Ready) || waiting:
		want = s.want(rev, settings, waiting, now)
	case !hopeless(rev, at, now):
		return nil
	}
	var starts []load.Start
	if !waiting { // who waits is not kept waiting for them
		starts = s.takeStarts(rev, now)
	}
	if want == *rev.Status.DesiredReplicas && len(starts) == 0 {
		return nil
	}
	next := rev.DeepCopy()
	addStarts(&next.Status, starts)
	if want != *rev.Status.DesiredReplicas {
		if waiting && want > *rev.Status.DesiredReplicas {
			s.Spares.Prepare(rev)
		}
		next.Status.DesiredReplicas = &want
		s.Log.Info("scale", "revision", client.ObjectKeyFromObject(rev), "from", *rev.Status.DesiredReplicas, "to", want)
	}
	return s.Client.Status().Patch(ctx, next, client.MergeFrom(rev))
}

// takeStarts are the cold starts that gateways told of since the last time.
func (s *Scaler) takeStarts(rev *serving.Revision, now time.Time) []load.Start {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracker(client.ObjectKeyFromObject(rev), now)
	starts := t.starts
	t.starts = nil
	return starts
}

// addStarts keeps the last of all cold starts.
func addStarts(status *serving.RevisionStatus, starts []load.Start) {
	all := status.ColdStarts
	for _, start := range starts {
		all = append(all, serving.ColdStart{
			Time: metav1.NewMicroTime(start.At), Kind: string(start.Kind), Took: metav1.Duration{Duration: start.Took.Round(time.Microsecond)},
		})
	}
	status.ColdStarts = all[max(len(all)-load.RecentStarts, 0):]
}

// hopeless says that a revision has failed, has had its time, and serves
// nobody. One that a route leads to has worked before: the kubelet goes on
// trying, for it may be what it depends on that fails.
func hopeless(rev *serving.Revision, at standing, now time.Time) bool {
	failed := rev.Status.Conditions.Get(serving.Ready).Status == corev1.ConditionFalse
	return failed && at != routed && now.Sub(rev.CreationTimestamp.Time) > rev.ProgressDeadline()
}

func (s *Scaler) want(rev *serving.Revision, settings Settings, waiting bool, now time.Time) int32 {
	var ready int32
	if rev.Status.ActualReplicas != nil {
		ready = *rev.Status.ActualReplicas
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tracker(client.ObjectKeyFromObject(rev), now).Want(settings, *rev.Status.DesiredReplicas, ready, waiting, now)
}
