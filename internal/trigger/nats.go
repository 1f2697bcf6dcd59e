package trigger

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/trigger/jetstream"
)

const (
	// natsSource is the namespace of the triggers' events.
	natsSource = "natstriggers.kubeless.io"
	// maxFunctions is how many functions a trigger calls at most.
	maxFunctions = 100
	// maxFollowers is how many the triggers of one tenant call at most, each counted
	// for each trigger. They are held here, whatever comes: some goroutines for each,
	// a consumer of the server's, and a stream, for which it sets room aside.
	maxFollowers = 200
	// natsLook is how often a trigger's followers are looked at.
	natsLook = 5 * time.Second
)

// natsReconciler keeps a follower for each function of each NATSTrigger.
type natsReconciler struct {
	client client.Client
	broker *jetstream.Broker
	caller *caller
	ctx    context.Context // ends with the controllers

	mu        sync.Mutex
	followers map[types.NamespacedName]map[string]*follower // guarded by mu; by trigger and function
}

// NATSOptions say where messages come from.
type NATSOptions struct {
	// URL is the servers', nats://HOST:PORT,...; a host NAME.NAMESPACE.svc is
	// that of a service of the cluster.
	URL string
	// Credentials is a file of a user's, as nsc writes it; empty for none.
	Credentials string
}

// AddNATS registers the controller of NATSTriggers, whose calls go to the
// gateway.
func AddNATS(mgr ctrl.Manager, gateway netip.AddrPort, opts NATSOptions) error {
	r := &natsReconciler{
		client: mgr.GetClient(), broker: newBroker(mgr.GetAPIReader(), opts), caller: newCaller(gateway),
		followers: map[types.NamespacedName]map[string]*follower{},
	}
	// Followers run where the controllers do, and end with them.
	if err := mgr.Add(untilTheEnd(r)); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&kubeless.NATSTrigger{}).
		Watches(&kubeless.Function{}, handler.EnqueueRequestsFromMapFunc(r.around)).
		Complete(r)
}

// around are the triggers of a function's namespace: any may select it, or
// have selected it before.
func (r *natsReconciler) around(ctx context.Context, fn client.Object) []reconcile.Request {
	var list kubeless.NATSTriggerList
	if err := r.client.List(ctx, &list, client.InNamespace(fn.GetNamespace())); err != nil {
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

func (r *natsReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var t kubeless.NATSTrigger
	err := r.client.Get(ctx, req.NamespacedName, &t)
	if apierrors.IsNotFound(err) || err == nil && t.DeletionTimestamp != nil {
		r.keep(req.NamespacedName, "", nil, "")
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	tenant, names, ready, err := r.examine(ctx, &t)
	if err != nil {
		return ctrl.Result{}, err
	}
	var wanted []jetstream.Subscription
	for _, name := range names {
		wanted = append(wanted, jetstream.Subscription{
			Namespace: t.Namespace, Trigger: t.Name, UID: string(t.UID), Function: name, Topic: t.Spec.Topic,
		})
	}
	if problem := r.keep(req.NamespacedName, tenant, wanted, t.Spec.ReplyTopic); problem != nil && ready.Status == corev1.ConditionTrue {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "NotFollowing", problem.Error()
	}
	before := t.DeepCopy()
	t.Status.ObservedGeneration, t.Status.Functions = t.Generation, names
	t.Status.Conditions.Set(ready, metav1.Now())
	if !equality.Semantic.DeepEqual(before.Status, t.Status) {
		if err := r.client.Status().Patch(ctx, &t, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	return ctrl.Result{RequeueAfter: natsLook}, nil
}

// examine says whose the trigger is, which functions it calls, and whether it may.
func (r *natsReconciler) examine(ctx context.Context, t *kubeless.NATSTrigger) (tenant string, names []string, ready serving.Condition, err error) {
	ready = serving.Condition{Type: serving.Ready, Status: corev1.ConditionTrue}
	no := func(reason, format string, args ...any) (string, []string, serving.Condition, error) {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, reason, fmt.Sprintf(format, args...)
		return tenant, nil, ready, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(&t.Spec.FunctionSelector)
	if err != nil {
		return no("SelectorInvalid", "spec.functionSelector: %v", err)
	}
	var ns corev1.Namespace
	if err := r.client.Get(ctx, client.ObjectKey{Name: t.Namespace}, &ns); err != nil {
		return "", nil, ready, err
	}
	if tenant = ns.Labels[redoubt.TenantLabel]; tenant != "" && !within(tenant, t.Spec.Topic, t.Spec.ReplyTopic) {
		return no("TopicReserved", "The topics of tenant %q begin with %q; choose another.", tenant, tenant+".")
	}
	if jetstream.Covers(t.Spec.Topic, t.Spec.ReplyTopic) {
		return no("ReplyCalls", "spec.replyTopic %q is among the messages of spec.topic %q: each answer would call the function again; choose another.", t.Spec.ReplyTopic, t.Spec.Topic)
	}
	var list kubeless.FunctionList
	if err := r.client.List(ctx, &list, client.InNamespace(t.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return "", nil, ready, err
	}
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	slices.Sort(names)
	switch {
	case len(names) == 0:
		return no("FunctionMissing", "spec.functionSelector selects no function of this namespace.")
	case len(names) > maxFunctions:
		return no("TooManyFunctions", "spec.functionSelector selects %d functions, and a trigger calls at most %d.", len(names), maxFunctions)
	}
	return tenant, names, ready, nil
}

// within says that topics are a tenant's own, as far as there are any.
func within(tenant string, topics ...string) bool {
	return !slices.ContainsFunc(topics, func(topic string) bool { return topic != "" && !strings.HasPrefix(topic, tenant+".") })
}

// keep makes the trigger's followers those that are wanted, with the topic of
// their answers, as far as its tenant may have more, and returns what is wrong with
// one of them.
func (r *natsReconciler) keep(trigger types.NamespacedName, tenant string, wanted []jetstream.Subscription, reply string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.followers[trigger]
	for function, f := range now {
		if !slices.Contains(wanted, f.Subscription) {
			go f.end(r.ctx, r.broker)
			delete(now, function)
		}
	}
	if len(wanted) == 0 {
		delete(r.followers, trigger)
		return nil
	}
	if now == nil {
		now = map[string]*follower{}
		r.followers[trigger] = now
	}
	var problem error
	for _, s := range wanted {
		f := now[s.Function]
		if f == nil && tenant != "" && r.count(tenant) >= maxFollowers {
			problem = fmt.Errorf("the triggers of tenant %q call %d functions, and may not call more", tenant, maxFollowers)
			continue
		}
		if f == nil {
			f = newFollower(r.ctx, s, reply, r.broker, r.caller)
			f.tenant = tenant
			now[s.Function] = f
		}
		f.setReplyTopic(reply)
		if err := f.state(); err != nil {
			problem = err
		}
	}
	return problem
}

// count is how many followers a tenant has; r.mu is held.
func (r *natsReconciler) count(tenant string) int {
	n := 0
	for _, of := range r.followers {
		for _, f := range of {
			if f.tenant == tenant {
				n++
			}
		}
	}
	return n
}

// untilTheEnd is what the manager runs while the controllers do.
type untilTheEndFunc func(context.Context) error

func (f untilTheEndFunc) Start(ctx context.Context) error { return f(ctx) }

func untilTheEnd(r *natsReconciler) untilTheEndFunc {
	ctx, cancel := context.WithCancel(context.Background())
	r.ctx = ctx
	return func(managed context.Context) error {
		<-managed.Done()
		cancel()
		r.broker.Close()
		return nil
	}
}

// follower calls one function with a topic's messages.
type follower struct {
	jetstream.Subscription
	tenant string // guarded by the reconciler's mu
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	problem error  // guarded by mu
	reply   string // guarded by mu; where answers go, or nothing
}

func newFollower(ctx context.Context, s jetstream.Subscription, reply string, broker *jetstream.Broker, c *caller) *follower {
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{Subscription: s, reply: reply, cancel: cancel, ended: make(chan struct{}), problem: fmt.Errorf("it is not yet known whether %s can be followed", s.Topic)}
	go f.run(ctx, broker, c)
	return f
}

func (f *follower) state() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problem
}

func (f *follower) set(problem error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problem = problem
}

func (f *follower) replyTopic() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reply
}

func (f *follower) setReplyTopic(topic string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reply = topic
}

func (f *follower) run(ctx context.Context, broker *jetstream.Broker, c *caller) {
	defer close(f.ended)
	defer forgetBacklog(f.Subscription)
	for ctx.Err() == nil {
		if err := broker.Follow(ctx, f.Subscription, f.handler(broker, c)); err != nil {
			f.set(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(firstPause):
		}
	}
}

func (f *follower) handler(broker *jetstream.Broker, c *caller) jetstream.Handler {
	return jetstream.Handler{
		Work: func(ctx context.Context, m jetstream.Message) (bool, error) {
			return f.work(ctx, broker, c, m)
		},
		Following: func() { f.set(nil) },
		Backlog:   func(n uint64) { setBacklog(f.Subscription, n) },
		GivenUp:   func() { countDead(f.Subscription) },
	}
}

// maxReply is how large an answer may be that is published, in bytes: what a
// message of NATS may have, where nobody has said otherwise.
const maxReply = 1 << 20

// work calls the function, and publishes its answer where that is wanted. An
// answer that cannot be published is a failure, and the call is made again.
func (f *follower) work(ctx context.Context, broker *jetstream.Broker, c *caller, m jetstream.Message) (reached bool, err error) {
	reply := f.replyTopic()
	if reply == "" {
		return c.once(ctx, eventOf(f.Subscription, m))
	}
	a, reached, err := c.ask(ctx, eventOf(f.Subscription, m), maxReply)
	if err != nil {
		return reached, err
	}
	header, ok := a.message()
	switch {
	case ok && a.tooLarge:
		return true, fmt.Errorf("the answer has more than the %d bytes that can be published", maxReply)
	case !ok:
		return true, nil
	}
	return true, broker.Publish(ctx, f.Subscription, reply, m.ID, jetstream.Message{Header: header, Data: a.body})
}

// end ends the following for good.
func (f *follower) end(ctx context.Context, broker *jetstream.Broker) {
	f.cancel()
	<-f.ended
	if err := broker.Forget(ctx, f.Subscription); err != nil {
		slog.Warn("JetStream remembers a subscription that has ended, for a week", "namespace", f.Namespace, "trigger", f.Trigger, "error", err)
	}
}

// eventOf is what a function gets of a message. CloudEvents keep what they say
// of themselves, and come in binary mode, whichever the message has.
func eventOf(s jetstream.Subscription, m jetstream.Message) event {
	e := event{
		namespace: s.Namespace, function: s.Function, id: m.ID, source: natsSource, time: m.Time, data: m.Data,
		origin: "/namespaces/" + s.Namespace + "/natstriggers/" + s.Trigger, what: "io.kubeless.natstrigger", subject: m.Subject,
		kind: kindOf(m.Data), header: attributes(m.Header),
	}
	declared := ""
	for name, values := range m.Header {
		if strings.EqualFold(name, "Content-Type") && len(values) == 1 && plain(values[0]) {
			declared = values[0]
		}
	}
	if kind := cmp.Or(declared, e.header["ce-datacontenttype"]); kind != "" {
		e.kind = kind
	}
	delete(e.header, "ce-datacontenttype")
	// Before messages had headers, they were CloudEvents by their content alone.
	if media(declared) == structured || declared == "" && e.header["ce-specversion"] == "" {
		if c, ok := unpack(m.Data); ok {
			e.take(c)
		}
	}
	return e
}
