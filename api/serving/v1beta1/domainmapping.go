package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// Conditions of a DomainMapping besides v1.Ready and v1.IngressReady.
const (
	// DomainClaimed is whether the name is this mapping's and no other's.
	DomainClaimed = "DomainClaimed"
	// ReferenceResolved is whether what it leads to is there.
	ReferenceResolved = "ReferenceResolved"
	// CertificateProvisioned is true always: certificates are brought by the
	// mapping's owner, or the gateway's.
	CertificateProvisioned = "CertificateProvisioned"
)

// DomainMapping lets a service or route answer to a name of its owner's, which
// is the mapping's own name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=domainmappings,singular=domainmapping,shortName=dm,categories=all;knative;serving
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].reason`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$')",message="metadata.name is the domain: it must be a full name in the DNS, such as www.example.org"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.endsWith('.cluster.local') && !self.metadata.name.endsWith('.svc')",message="metadata.name is the domain: names inside the cluster are those of its services"
type DomainMapping struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              DomainMappingSpec   `json:"spec"`
	Status            DomainMappingStatus `json:"status,omitempty"`
}

// DomainMappingList is a list of mappings.
//
// +kubebuilder:object:root=true
type DomainMappingList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DomainMapping `json:"items"`
}

// DomainMappingSpec says where the requests go.
type DomainMappingSpec struct {
	Ref Reference `json:"ref"`
	// TLS is how the name is served over TLS. Without it the gateway has
	// certificates of its own, or none, and answers without TLS too.
	// +optional
	TLS *SecretTLS `json:"tls,omitempty"`
}

// SecretTLS is a certificate brought by the mapping's owner. Requests without
// TLS are then led to https.
type SecretTLS struct {
	// SecretName names a Secret of the mapping's namespace with tls.crt and
	// tls.key.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName"`
}

// Reference names a Service or Route of the mapping's own namespace.
type Reference struct {
	// +kubebuilder:validation:Enum=serving.knative.dev/v1
	APIVersion string `json:"apiVersion"`
	// +kubebuilder:validation:Enum=Service;Route
	Kind string `json:"kind"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Namespace may be left out; it can only be the mapping's own.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// DomainMappingStatus is what is known of a mapping.
type DomainMappingStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         serving.Conditions `json:"conditions,omitempty"`
	// URL is where the mapping answers.
	URL     string           `json:"url,omitempty"`
	Address *serving.Address `json:"address,omitempty"`
}
