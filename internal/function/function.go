// Package function turns a Function into a Service of the serving layer: the
// source becomes a ConfigMap that an image of the function's language loads, or a
// layer of that image. Scaling, routing and sandboxing are the service's.
package function

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/tenant/gate"
	"redoubt.dev/redoubt/runtimes"
)

type reconciler struct {
	client client.Client
	live   client.Reader // the API server itself
	builds client.Reader // of pods that build
	// unstarted says why those do not start.
	unstarted kube.Unstarted
}

// Add registers the controller, which learns from gates why builds wait there.
func Add(mgr ctrl.Manager, gates *gate.Waits) error {
	builds, err := kube.PodCache(mgr, kubeless.BuildLabel)
	if err != nil {
		return fmt.Errorf("set up the cache of builds: %w", err)
	}
	ofOwner := handler.TypedEnqueueRequestForOwner[*corev1.Pod](mgr.GetScheme(), mgr.GetRESTMapper(), &kubeless.Function{}, handler.OnlyControllerOwner())
	return ctrl.NewControllerManagedBy(mgr).
		For(&kubeless.Function{}).
		Owns(&serving.Service{}).
		Watches(&serving.Revision{}, handler.EnqueueRequestsFromMapFunc(whose), builder.WithPredicates(predicate.Funcs{
			CreateFunc: func(event.CreateEvent) bool { return false },
			UpdateFunc: func(event.UpdateEvent) bool { return false },
		})).
		WatchesRawSource(source.Kind(builds, &corev1.Pod{}, ofOwner)).
		Complete(&reconciler{client: mgr.GetClient(), live: mgr.GetAPIReader(), builds: builds, unstarted: kube.Unstarted{Live: mgr.GetAPIReader(), Gates: gates}})
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var fn kubeless.Function
	if err := r.client.Get(ctx, req.NamespacedName, &fn); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if fn.DeletionTimestamp != nil {
		return ctrl.Result{}, r.release(ctx, &fn)
	}
	svc, err := r.keep(ctx, &fn)
	if err != nil {
		err = errors.Join(err, r.steer(ctx, &fn))
	}
	before := fn.DeepCopy()
	report(&fn, svc, err)
	if err == nil {
		r.adviseImage(ctx, &fn, svc)
		if fn.Status.Conditions.Get(serving.Ready).Status == corev1.ConditionTrue {
			err = errors.Join(r.tidy(ctx, &fn), r.tidySources(ctx, &fn, svc))
		}
	}
	if !equality.Semantic.DeepEqual(before.Status, fn.Status) {
		if err := r.client.Status().Patch(ctx, &fn, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, err
		}
	}
	if state := (*unfinished)(nil); errors.As(err, &state) {
		if state.failed {
			return ctrl.Result{RequeueAfter: retryBuild}, nil
		}
		return ctrl.Result{RequeueAfter: state.again}, nil // the build's pod tells of its end
	}
	if pause := kube.PauseAfter(err); pause > 0 {
		return ctrl.Result{RequeueAfter: pause}, nil // the status says why
	}
	return ctrl.Result{}, err
}

// kubelessFinalizer is on functions that Kubeless's command line made, for its
// controller to take off.
const kubelessFinalizer = "kubeless.io/function"

// release lets a function go: what was made for it goes with its owner.
func (r *reconciler) release(ctx context.Context, fn *kubeless.Function) error {
	before := fn.DeepCopy()
	if !controllerutil.RemoveFinalizer(fn, kubelessFinalizer) {
		return nil
	}
	return client.IgnoreNotFound(r.client.Patch(ctx, fn, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}

// keep makes the source's ConfigMap and the service that runs it.
func (r *reconciler) keep(ctx context.Context, fn *kubeless.Function) (*serving.Service, error) {
	lang, err := runtimes.Get(fn.Spec.Runtime)
	if err != nil {
		return nil, err
	}
	if err := checkPool(fn, lang); err != nil {
		return nil, err
	}
	code, files, err := codeOf(fn, lang)
	if err != nil {
		return nil, err
	}
	if err := r.keepSource(ctx, fn, code); err != nil {
		return nil, err
	}
	p, err := planFor(fn, lang, code, files)
	if err != nil {
		return nil, err
	}
	var made built
	if p != nil {
		if made, err = r.build(ctx, fn, p, code); err != nil {
			return nil, err
		}
	}
	svc := &serving.Service{ObjectMeta: metav1.ObjectMeta{Namespace: fn.Namespace, Name: fn.Name}}
	_, err = controllerutil.CreateOrPatch(ctx, r.client, svc, func() error {
		if svc.UID != "" && !metav1.IsControlledBy(svc, fn) {
			return fmt.Errorf("a service %q exists that this function did not make; delete or rename one of them", svc.Name)
		}
		handLabelsOn(fn, svc)
		svc.Spec.Template = template(fn, lang, code, made)
		rollBack(fn, svc)
		return controllerutil.SetControllerReference(fn, svc, r.client.Scheme())
	})
	if err != nil {
		return nil, fmt.Errorf("keep service %s: %w", fn.Name, err)
	}
	return svc, nil
}

// labelsAnnotation of a service names the labels that its function gave it.
const labelsAnnotation = "redoubt.dev/labels-of-function"

// handLabelsOn gives the service fn's labels, and takes off those that fn had before
// and has no more. Others are whoever's who put them there.
func handLabelsOn(fn *kubeless.Function, svc *serving.Service) {
	for name := range strings.FieldsSeq(svc.Annotations[labelsAnnotation]) {
		if _, ok := fn.Labels[name]; !ok {
			delete(svc.Labels, name)
		}
	}
	if svc.Labels == nil {
		svc.Labels = map[string]string{}
	}
	maps.Copy(svc.Labels, fn.Labels)
	svc.Labels[kubeless.FunctionLabel] = fn.Name
	metav1.SetMetaDataAnnotation(&svc.ObjectMeta, labelsAnnotation, strings.Join(slices.Sorted(maps.Keys(fn.Labels)), " "))
}

// steer rolls back the service that fn has, if it is to, where its newest version
// has none: while it is built, or where it cannot be.
func (r *reconciler) steer(ctx context.Context, fn *kubeless.Function) error {
	var svc serving.Service
	if _, ok := kubeless.RolledBack(fn); !ok {
		return nil
	}
	if err := r.client.Get(ctx, client.ObjectKeyFromObject(fn), &svc); err != nil || !metav1.IsControlledBy(&svc, fn) {
		return client.IgnoreNotFound(err)
	}
	before := svc.DeepCopy()
	rollBack(fn, &svc)
	if equality.Semantic.DeepEqual(before, &svc) {
		return nil
	}
	if err := r.client.Patch(ctx, &svc, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("roll back service %s: %w", svc.Name, err)
	}
	return nil
}

// rollBack leads all requests to the revision that fn is rolled back to, and
// to the newest again when it no longer is. Other shares are left alone: they
// are whoever's who made them.
func rollBack(fn *kubeless.Function, svc *serving.Service) {
	revision, ok := kubeless.RolledBack(fn)
	_, was := svc.Annotations[kubeless.RollbackAnnotation]
	if !ok && !was {
		return
	}
	if !ok {
		delete(svc.Annotations, kubeless.RollbackAnnotation)
		svc.Spec.Traffic = nil
		return
	}
	if svc.Annotations == nil {
		svc.Annotations = map[string]string{}
	}
	svc.Annotations[kubeless.RollbackAnnotation] = revision
	latest, all := false, int64(100)
	svc.Spec.Traffic = []serving.TrafficTarget{{RevisionName: revision, LatestRevision: &latest, Percent: &all}}
}

// keepSource makes an immutable ConfigMap per version of the source, so that
// revisions before this one keep theirs. One in parts is whoever's who made them.
func (r *reconciler) keepSource(ctx context.Context, fn *kubeless.Function, code code) error {
	if code.parts != nil {
		return nil
	}
	immutable := true
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: fn.Namespace, Name: code.name, Labels: map[string]string{kubeless.FunctionLabel: fn.Name, kubeless.SourceLabel: code.version}},
		BinaryData: code.data, // a program is no text
		Immutable:  &immutable,
	}
	if err := controllerutil.SetControllerReference(fn, cm, r.client.Scheme()); err != nil {
		return err
	}
	// Quotas are asked before it is seen that it is there. They would count it once
	// more for a while, but for a dry run, which needs no content; a full one refuses
	// that too.
	err := r.client.Create(ctx, &corev1.ConfigMap{ObjectMeta: *cm.ObjectMeta.DeepCopy()}, client.DryRunAll)
	if err == nil {
		err = r.client.Create(ctx, cm)
	}
	if err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsForbidden(err) && r.runs(ctx, fn, code) {
		return nil
	}
	return fmt.Errorf("keep source: %w", err)
}

// adviseImage says what to do where a node has not the image of the
// function's runtime. That image is in no registry, and "function deploy"
// builds it; a Function that came another way has nobody who did.
func (r *reconciler) adviseImage(ctx context.Context, fn *kubeless.Function, svc *serving.Service) {
	ready := fn.Status.Conditions.Get(serving.Ready)
	lang, err := runtimes.Get(fn.Spec.Runtime)
	if ready.Status == corev1.ConditionTrue || err != nil {
		return
	}
	if !r.missing(ctx, svc, lang.Image) {
		return
	}
	ready.Reason = "RuntimeImageMissing"
	ready.Message = fmt.Sprintf("the node has no image of the runtime %s; build it there with: redoubt function prepare %s", lang.Name, lang.Name)
	fn.Status.Conditions.Set(ready, metav1.Now())
}

func report(fn *kubeless.Function, svc *serving.Service, failed error) {
	s := &fn.Status
	s.ObservedGeneration = fn.Generation
	ready := serving.Condition{Type: serving.Ready, Status: corev1.ConditionUnknown}
	state := (*unfinished)(nil)
	switch {
	case errors.As(failed, &state) && !state.failed:
		ready.Reason, ready.Message = state.reason, state.message
	case state != nil:
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, state.reason, state.message
	case failed != nil:
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "FunctionFailed", failed.Error()
	case svc.Status.ObservedGeneration == svc.Generation:
		of := svc.Status.Conditions.Get(serving.Ready)
		ready.Status, ready.Reason, ready.Message = of.Status, of.Reason, of.Message
		s.URL = svc.Status.URL
	}
	s.Conditions.Set(ready, metav1.Now())
}
