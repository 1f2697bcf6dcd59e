package clients

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

// Tenant is whose a namespace is, and with whom that tenant allows calls.
type Tenant struct {
	// Name is empty where the namespace is the platform's.
	Name string
	// To may be called, and From may call; both are other tenants' names.
	To, From []string
}

// TenantOf reads it from a namespace. While what the tenant controller says
// there is about another tenant, no calls are allowed.
func TenantOf(namespace *metav1.PartialObjectMetadata) Tenant {
	t := Tenant{Name: namespace.Labels[redoubt.TenantLabel]}
	if t.Name == "" || namespace.Annotations[redoubt.ResolvedAnnotation] != t.Name {
		return t
	}
	names := func(annotation string) []string {
		return strings.FieldsFunc(namespace.Annotations[annotation], func(r rune) bool { return r == ',' })
	}
	t.To, t.From = names(redoubt.CallsToAnnotation), names(redoubt.CallsFromAnnotation)
	return t
}

// mayCall says whether t's pods may call services of a namespace of another.
// The platform's pods may call all; who is not known has no services.
func (t *Tenant) mayCall(other Tenant) bool {
	if t.Name == "" || t.Name == other.Name {
		return true
	}
	return slices.Contains(t.To, other.Name) && slices.Contains(other.From, t.Name)
}
