// Package configuration makes a Revision of every version of a Configuration.
package configuration

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/internal/kube"
	"redoubt.dev/redoubt/internal/serving/status"
)

type reconciler struct{ client client.Client }

// Add registers the controller.
func Add(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&serving.Configuration{}).
		Owns(&serving.Revision{}).
		Complete(&reconciler{client: mgr.GetClient()})
}

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var config serving.Configuration
	if err := r.client.Get(ctx, req.NamespacedName, &config); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if config.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	rev, err := r.revision(ctx, &config)
	var all serving.RevisionList
	if listErr := r.client.List(ctx, &all, client.InNamespace(config.Namespace), client.MatchingLabels{serving.ConfigurationLabel: config.Name}); listErr != nil {
		return ctrl.Result{}, fmt.Errorf("list revisions: %w", listErr)
	}
	pause := kube.PauseAfter(err)
	if err != nil && pause == 0 {
		return ctrl.Result{}, err
	}
	before := config.DeepCopy()
	report(&config, rev, all.Items, err)
	if wait := status.Wait(config.CreationTimestamp, before.Status.ObservedGeneration, config.Status.Conditions, time.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	if !equality.Semantic.DeepEqual(before.Status, config.Status) {
		if err := r.client.Status().Patch(ctx, &config, client.MergeFrom(before)); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{RequeueAfter: pause}, nil // where err is a refusal, the status says why
}

// revision returns the revision of the present version, which it makes if
// there is none.
func (r *reconciler) revision(ctx context.Context, config *serving.Configuration) (*serving.Revision, error) {
	wanted := newRevision(config)
	var rev serving.Revision
	err := r.client.Get(ctx, client.ObjectKeyFromObject(wanted), &rev)
	if apierrors.IsNotFound(err) {
		if err := controllerutil.SetControllerReference(config, wanted, r.client.Scheme()); err != nil {
			return nil, err
		}
		err = r.client.Create(ctx, wanted)
		if apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("make revision %s: %w", wanted.Name, err) // the cache lags; try again
		}
		return wanted, err
	}
	if err != nil {
		return nil, err
	}
	if !metav1.IsControlledBy(&rev, config) {
		return nil, apierrors.NewForbidden(serving.GroupVersion.WithResource("revisions").GroupResource(), rev.Name,
			fmt.Errorf("it belongs to something else; choose another name in spec.template.metadata.name"))
	}
	same := rev.Labels[serving.ConfigurationGenerationLabel] == wanted.Labels[serving.ConfigurationGenerationLabel]
	if !same && !equality.Semantic.DeepEqual(rev.Spec, wanted.Spec) {
		return nil, apierrors.NewForbidden(serving.GroupVersion.WithResource("revisions").GroupResource(), rev.Name,
			fmt.Errorf("it exists with another template; change spec.template.metadata.name with every change of the template, or leave it out"))
	}
	return &rev, nil
}

func newRevision(config *serving.Configuration) *serving.Revision {
	template := config.Spec.Template.DeepCopy()
	rev := &serving.Revision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   config.Namespace,
			Name:        template.Name,
			Labels:      template.Labels,
			Annotations: template.Annotations,
		},
		Spec: template.Spec,
	}
	if rev.Name == "" {
		rev.Name = fmt.Sprintf("%s-%05d", config.Name, config.Generation)
	}
	if rev.Labels == nil {
		rev.Labels = map[string]string{}
	}
	rev.Labels[serving.ConfigurationLabel] = config.Name
	rev.Labels[serving.ConfigurationGenerationLabel] = strconv.FormatInt(config.Generation, 10)
	rev.Labels[serving.ConfigurationUIDLabel] = string(config.UID)
	rev.Labels[serving.RoutingStateLabel] = string(serving.RoutingPending)
	for _, label := range []string{serving.ServiceLabel, serving.ServiceUIDLabel} {
		if value := config.Labels[label]; value != "" {
			rev.Labels[label] = value
		}
	}
	if author := config.Annotations[serving.LastModifierAnnotation]; author != "" {
		if rev.Annotations == nil {
			rev.Annotations = map[string]string{}
		}
		rev.Annotations[serving.CreatorAnnotation] = author
	}
	if rev.Spec.TimeoutSeconds == 0 {
		rev.Spec.TimeoutSeconds = serving.DefaultTimeoutSeconds
	}
	return rev
}

// report fills in the status. The latest ready revision is the newest that is
// ready, be it not the newest of all.
func report(config *serving.Configuration, rev *serving.Revision, others []serving.Revision, failed error) {
	s := &config.Status
	s.ObservedGeneration = config.Generation
	ready := serving.Condition{Type: serving.Ready, Status: corev1.ConditionUnknown}
	if failed != nil {
		ready.Status, ready.Reason = corev1.ConditionFalse, "RevisionFailed"
		ready.Message = fmt.Sprintf("Revision creation failed with message: %v.", failed)
		s.Conditions.Set(ready, metav1.Now())
		return
	}
	s.LatestCreatedRevisionName = rev.Name
	of := rev.Status.Conditions.Get(serving.Ready)
	ready.Status, ready.Reason, ready.Message = of.Status, of.Reason, of.Message
	switch of.Status {
	case corev1.ConditionTrue:
		s.LatestReadyRevisionName = rev.Name
	case corev1.ConditionFalse:
		ready.Reason = "RevisionFailed"
		ready.Message = fmt.Sprintf("Revision %q failed with message: %s.", rev.Name, strings.TrimSuffix(of.Message, "."))
		fallthrough
	default:
		s.LatestReadyRevisionName = latestReady(s.LatestReadyRevisionName, others)
	}
	s.Conditions.Set(ready, metav1.Now())
	s.Conditions.Adopt(serving.Freezable, rev.Status.Conditions, metav1.Now())
}

// latestReady is the newest ready revision that is newer than the one named
// present, which stays if there is none: requests never go back by themselves.
func latestReady(present string, revisions []serving.Revision) string {
	best, name := int64(-1), present
	for i := range revisions {
		if revisions[i].Name == present {
			best = revisions[i].ConfigurationGeneration()
		}
	}
	for i := range revisions {
		rev := &revisions[i]
		if rev.Status.Conditions.IsTrue(serving.Ready) && rev.ConfigurationGeneration() > best {
			best, name = rev.ConfigurationGeneration(), rev.Name
		}
	}
	return name
}
