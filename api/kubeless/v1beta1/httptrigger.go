package v1beta1

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// Conditions of an HTTPTrigger besides v1.Ready.
const (
	// HostClaimed is whether the host and path are this trigger's.
	HostClaimed = "HostClaimed"
	// FunctionResolved is whether the function is there.
	FunctionResolved = "FunctionResolved"
)

// HTTPTrigger lets a function answer to a host of its owner's, below a path,
// over TLS, to those who know a password, or to pages of other origins.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=httptriggers,singular=httptrigger,categories=all
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Function",type=string,JSONPath=`.spec.function-name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].reason`
type HTTPTrigger struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              HTTPTriggerSpec   `json:"spec"`
	Status            HTTPTriggerStatus `json:"status,omitempty"`
}

// HTTPTriggerList is a list of triggers.
//
// +kubebuilder:object:root=true
type HTTPTriggerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HTTPTrigger `json:"items"`
}

// HTTPTriggerSpec says which requests come to a function, and on what terms.
// The host cannot change: who comes first has a host, and a trigger that is
// old could otherwise take any.
//
// +kubebuilder:validation:XValidation:rule="has(self.host__dash__name) == has(oldSelf.host__dash__name) && (!has(self.host__dash__name) || self.host__dash__name == oldSelf.host__dash__name)",message="cannot change, because who comes first has a host; delete the trigger and create another",fieldPath=".host-name"
type HTTPTriggerSpec struct {
	// FunctionName is in the trigger's own namespace.
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	FunctionName string `json:"function-name"`
	// HostName is the host that the function answers to; without it, that of
	// the function's own URL.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$')",message="must be a full name in the DNS, in lower case, such as www.example.org"
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('.cluster.local') && !self.endsWith('.svc')",message="names inside the cluster are those of its services"
	// +optional
	HostName string `json:"host-name,omitempty"`
	// Path is what the paths of its requests begin with; the function does not
	// see it. Without it all are the function's.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-A-Za-z0-9._~!$&()*+,;=:@/]*$') && !self.contains('//') && !self.split('/').exists(p, p == '.' || p == '..')",message="must be the beginning of a path, such as /orders: letters, digits and -._~!$&()*+,;=:@, without empty parts, . and .."
	// +optional
	Path string `json:"path,omitempty"`
	// TLSAcme must not be set: certificates are not ordered.
	// +kubebuilder:validation:XValidation:rule="!self",message="certificates are not ordered by ACME; put one into a Secret of the type kubernetes.io/tls, and name it in tls-secret"
	// +optional
	TLSAcme bool `json:"tls,omitempty"`
	// TLSSecret names a Secret of the trigger's namespace with tls.crt and
	// tls.key. Requests without TLS are then led to https.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	TLSSecret string `json:"tls-secret,omitempty"`
	// BasicAuthSecret names a Secret of the trigger's namespace, whose key auth
	// has users and passwords as htpasswd writes them.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	BasicAuthSecret string `json:"basic-auth-secret,omitempty"`
	// Gateway is without effect: Redoubt's own serves all triggers.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Gateway string `json:"gateway,omitempty"`
	// CORSEnable lets pages of all origins call the function.
	// +optional
	CORSEnable bool `json:"cors-enable,omitempty"`
}

// HTTPTriggerStatus is what is known of a trigger.
type HTTPTriggerStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         serving.Conditions `json:"conditions,omitempty"`
	// URL is where the function answers.
	URL string `json:"url,omitempty"`
}

// Host is what the trigger's requests name, where domain ends the platform's
// public names.
func (t *HTTPTrigger) Host(domain string) string {
	if t.Spec.HostName != "" {
		return t.Spec.HostName
	}
	return t.Spec.FunctionName + "." + t.Namespace + "." + domain
}

// Prefix is what the paths of its requests begin with: "/", or one or more
// parts with a slash before each.
func (t *HTTPTrigger) Prefix() string { return "/" + strings.Trim(t.Spec.Path, "/") }
