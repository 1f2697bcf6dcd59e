// Package v1 holds the types of serving.knative.dev/v1, Knative's serving
// interface, as Redoubt serves it: the names, defaults and meanings are
// Knative's (knative/specs, specs/serving), the code is ours.
//
// The pod fields of a revision are listed one by one. A field that is not
// listed is refused by the API server with its path, never dropped.
//
// +kubebuilder:object:generate=true
// +groupName=serving.knative.dev
package v1

//go:generate go tool -modfile=../../../.ci/tools.mod controller-gen object crd:generateEmbeddedObjectMeta=true,maxDescLen=0 paths=. output:crd:dir=../../../config/crd

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of this package's kinds.
var GroupVersion = schema.GroupVersion{Group: "serving.knative.dev", Version: "v1"}

// AddToScheme registers this package's kinds.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Service{}, &ServiceList{},
		&Configuration{}, &ConfigurationList{},
		&Revision{}, &RevisionList{},
		&Route{}, &RouteList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
