package cli

import (
	"context"
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	kubeless "redoubt.dev/redoubt/api/kubeless/v1beta1"
)

// onePart is an API server with one ConfigMap, or none.
type onePart struct {
	client.WithWatch
	there *corev1.ConfigMap
}

func (c *onePart) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	if c.there != nil {
		return apierrors.NewAlreadyExists(corev1.Resource("configmaps"), o.GetName())
	}
	c.there = o.(*corev1.ConfigMap)
	return nil
}

func (c *onePart) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	c.there.DeepCopyInto(o.(*corev1.ConfigMap))
	return nil
}

func (c *onePart) Delete(context.Context, client.Object, ...client.DeleteOption) error {
	c.there = nil
	return nil
}

// A part that is there counts when it goes with the function, not with one that
// was deleted before.
func TestAPartThatIsThere(t *testing.T) {
	part := func(owner, of string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: "hello-source-0", Labels: map[string]string{kubeless.PartLabel: of},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Function", Name: "hello", UID: types.UID(owner)}},
		}}
	}
	fn := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Name: "hello", UID: "new"}}
	for title, tc := range map[string]struct {
		there *corev1.ConfigMap
		owner string
		fails bool
	}{
		"none":                 {nil, "new", false},
		"its own":              {part("new", "hello"), "new", false},
		"of the one before":    {part("old", "hello"), "new", false},
		"not of this function": {part("other", "other"), "other", true},
	} {
		server := &onePart{there: tc.there}
		c := &connection{WithWatch: server}
		err := c.keepPart(t.Context(), fn, part("new", "hello"))
		if owner := server.there.OwnerReferences[0].UID; (err != nil) != tc.fails || string(owner) != tc.owner {
			t.Errorf("%s: it goes with %q, %v", title, owner, err)
		}
	}
}

// Of two updates at the same time, the one that came first leaves the source of the
// other, which the function has.
func TestPartsOfALaterUpdateStay(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(kubeless.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	fn := &kubeless.Function{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "hello", UID: "u"}}
	fn.Spec.FunctionContentType, fn.Spec.Function = "configmap+zip", "second-0"
	part := func(name string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{kubeless.PartLabel: "hello"}}}
	}
	c := &connection{WithWatch: fake.NewClientBuilder().WithScheme(scheme).WithObjects(fn, part("before-0"), part("second-0")).Build()}
	first := fn.DeepCopy()
	first.Spec.Function = "first-0"
	if err := c.keepParts(t.Context(), first, []byte("first")); err != nil {
		t.Fatal(err)
	}
	var list corev1.ConfigMapList
	if err := c.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	if names, err := namesOf(&list); err != nil || !slices.Equal(names, []string{"first-0", "second-0"}) {
		t.Errorf("there are %q, %v", names, err)
	}
}
