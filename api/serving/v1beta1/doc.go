// Package v1beta1 holds the types of serving.knative.dev/v1beta1 as Redoubt
// serves them: DomainMapping, which gives a service another name. The names
// and meanings are Knative's, the code is ours.
//
// +kubebuilder:object:generate=true
// +groupName=serving.knative.dev
package v1beta1

//go:generate go tool -modfile=../../../.ci/tools.mod controller-gen object crd:generateEmbeddedObjectMeta=true,maxDescLen=0 paths=. output:crd:dir=../../../config/crd

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of this package's kinds.
var GroupVersion = schema.GroupVersion{Group: "serving.knative.dev", Version: "v1beta1"}

// AddToScheme registers this package's kinds.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &DomainMapping{}, &DomainMappingList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
