package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// NATSTrigger calls functions with the messages of a subject of NATS, each at
// least once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=natstriggers,singular=natstrigger,categories=all
// +kubebuilder:printcolumn:name="Topic",type=string,JSONPath=`.spec.topic`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].reason`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",message="metadata.name must have at most 63 characters and no dot: it is part of a subject"
type NATSTrigger struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              NATSTriggerSpec   `json:"spec"`
	Status            NATSTriggerStatus `json:"status,omitempty"`
}

// NATSTriggerList is a list of triggers.
//
// +kubebuilder:object:root=true
type NATSTriggerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NATSTrigger `json:"items"`
}

// NATSTriggerSpec is which messages call which functions.
type NATSTriggerSpec struct {
	// Topic is a subject of NATS, with * for any one part and a final > for
	// any further ones.
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule="self.matches('^([-A-Za-z0-9_]+|[*])([.]([-A-Za-z0-9_]+|[*]))*([.]>)?$')",message="must be a subject of NATS: parts of letters, digits, - and _ with dots between them, * for any part, and > at the end for any further ones"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('*') && !self.startsWith('redoubt.') && self != 'redoubt'",message="must begin with a part that is not *, nor redoubt, which is the platform's"
	Topic string `json:"topic"`
	// FunctionSelector selects the functions, of the trigger's own namespace,
	// by their labels. Each of them gets every message.
	FunctionSelector metav1.LabelSelector `json:"functionSelector"`
	// ReplyTopic is a subject of NATS to which answers are published that are
	// CloudEvents; without it, answers are for nobody.
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-A-Za-z0-9_]+([.][-A-Za-z0-9_]+)*$')",message="must be one subject of NATS: parts of letters, digits, - and _ with dots between them"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('redoubt.') && self != 'redoubt'",message="must not begin with redoubt, which is the platform's"
	ReplyTopic string `json:"replyTopic,omitempty"`
}

// NATSTriggerStatus is what is known of a trigger.
type NATSTriggerStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         serving.Conditions `json:"conditions,omitempty"`
	// Functions are those that are called.
	// +kubebuilder:validation:MaxItems=100
	Functions []string `json:"functions,omitempty"`
}
