package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Configuration keeps the newest version of a service as a template, and
// makes a revision of each version.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=configurations,singular=configuration,shortName=config;cfg,categories=all;knative;serving
// +kubebuilder:printcolumn:name="LatestCreated",type=string,JSONPath=`.status.latestCreatedRevisionName`
// +kubebuilder:printcolumn:name="LatestReady",type=string,JSONPath=`.status.latestReadyRevisionName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].reason`
type Configuration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ConfigurationSpec `json:"spec"`
	// The whole of it is the controllers': who owns which part need not be kept.
	// +structType=atomic
	Status ConfigurationStatus `json:"status,omitempty"`
}

// ConfigurationList is a list of configurations.
//
// +kubebuilder:object:root=true
type ConfigurationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Configuration `json:"items"`
}

// ConfigurationSpec is the newest version.
type ConfigurationSpec struct {
	Template RevisionTemplate `json:"template"`
}

// ConfigurationStatus is what is known of a configuration.
type ConfigurationStatus struct {
	ObservedGeneration int64      `json:"observedGeneration,omitempty"`
	Conditions         Conditions `json:"conditions,omitempty"`

	ConfigurationStatusFields `json:",inline"`
}

// ConfigurationStatusFields are shared with the service.
type ConfigurationStatusFields struct {
	LatestCreatedRevisionName string `json:"latestCreatedRevisionName,omitempty"`
	LatestReadyRevisionName   string `json:"latestReadyRevisionName,omitempty"`
}
