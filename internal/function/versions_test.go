package function

import (
	"errors"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
	serving "redoubt.dev/redoubt/api/serving/v1"
	"redoubt.dev/redoubt/runtimes/source"
)

// A version of the source stays as long as the function has it or a revision does,
// and then goes, as soon as the function is ready.
func TestSourcesGoWithTheLastRevisionOfThem(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(kubeless.AddToScheme(scheme), serving.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	fn := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "f", UID: "u"}}
	fn.Spec.Runtime, fn.Spec.Handler, fn.Spec.Function = "python3", "f.main", "def main(event, context): return 1"
	made := func(name, of, version string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{kubeless.FunctionLabel: of, kubeless.SourceLabel: version}}}
	}
	parts := made("f-source-parts-0", "f", "")
	parts.Labels = map[string]string{kubeless.PartLabel: "f"}
	mine := made("mine", "f", "")
	delete(mine.Labels, kubeless.SourceLabel)
	rev := func(name string, volumes ...corev1.Volume) *serving.Revision {
		r := &serving.Revision{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{serving.ConfigurationLabel: "f"}}}
		r.Spec.Volumes = volumes
		return r
	}
	odd := code{name: "f-source-no label"}.volumes()[0] // of a service that its owner changed
	old := rev("f-00001", code{name: "f-source-old"}.volumes()[0])
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(fn, &serving.Service{}).WithObjects(fn,
		made("f-source-old", "f", "old"), made("f-source-never", "f", "never"), made("g-source-old", "g", "other"), parts, mine,
		old, rev("f-00002", odd), rev("f-00003")).Build()
	r := &reconciler{client: c, live: c, builds: c}
	there := func(when string, want ...string) {
		t.Helper()
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(fn)}); err != nil {
			t.Fatal(when, err)
		}
		var list corev1.ConfigMapList
		if err := c.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, cm := range list.Items {
			names[cm.Name] = true
		}
		want = append(want, "f-source-parts-0", "mine", "g-source-old")
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
			t.Errorf("%s there are %q, want %q", when, got, want)
		}
	}
	now := newSource(fn, files(t, fn)).name
	there("before it is ready", now, "f-source-old", "f-source-never")
	var svc serving.Service
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(fn), &svc); err != nil {
		t.Fatal(err)
	}
	svc.Status.Conditions.Set(serving.Condition{Type: serving.Ready, Status: corev1.ConditionTrue}, metav1.Now())
	if err := c.Status().Update(t.Context(), &svc); err != nil {
		t.Fatal(err)
	}
	there("once it is ready", now, "f-source-old")
	if err := c.Delete(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if told := whose(t.Context(), old); len(told) != 1 || told[0].NamespacedName != client.ObjectKeyFromObject(fn) {
		t.Errorf("of a revision that goes %v is told", told)
	}
	there("without a revision of it", now)
}

// A service that has changed may make a revision of what no revision has yet.
func TestSourcesStayWhileTheServiceIsAnother(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(serving.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	seen := &serving.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "f", Generation: 1}}
	now := seen.DeepCopy()
	now.Generation = 2
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "f-source-1", Labels: map[string]string{kubeless.FunctionLabel: "f", kubeless.SourceLabel: "1"}}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(now, cm).Build()
	r := &reconciler{client: c, live: c}
	fn := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "f"}}
	if err := r.tidySources(t.Context(), fn, seen); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(cm), cm); err != nil {
		t.Error(err)
	}
}

func files(t *testing.T, fn *kubeless.Function) []source.File {
	t.Helper()
	all, err := Source(fn, source.Small)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A function that is made again after it was deleted has a source of its own: the
// one before it is about to go, and nobody would tell.
func TestSourcesAreOfOneFunctionObject(t *testing.T) {
	fn := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Name: "f", UID: "first"}}
	fn.Spec.Runtime, fn.Spec.Handler, fn.Spec.Function = "python3", "f.main", "def main(event, context): return 1"
	first, again := newSource(fn, files(t, fn)), newSource(fn, files(t, fn))
	fn.UID = "second"
	if second := newSource(fn, files(t, fn)); first.name != again.name || first.name == second.name {
		t.Errorf("they are %s, %s and %s", first.name, again.name, second.name)
	}
}
