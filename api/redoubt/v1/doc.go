// Package v1 holds the types of redoubt.dev/v1, Redoubt's own interface: what
// neither Kubernetes nor Knative has a word for.
//
// +kubebuilder:object:generate=true
// +groupName=redoubt.dev
package v1

//go:generate go tool -modfile=../../../.ci/tools.mod controller-gen object crd:maxDescLen=400 paths=. output:crd:dir=../../../config/crd

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of this package's kinds.
var GroupVersion = schema.GroupVersion{Group: "redoubt.dev", Version: "v1"}

// AddToScheme registers this package's kinds.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Tenant{}, &TenantList{}, &Invocation{}, &InvocationList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
