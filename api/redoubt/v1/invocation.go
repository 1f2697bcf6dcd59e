package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Invocation is one call of a function that nobody waits for: what it is called
// with, and what it answered. It goes some time after its end.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=invocations,singular=invocation,categories=redoubt
// +kubebuilder:printcolumn:name="Function",type=string,JSONPath=`.spec.function`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Attempts",type=integer,JSONPath=`.status.attempts`
// +kubebuilder:printcolumn:name="Code",type=integer,JSONPath=`.status.code`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Invocation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              InvocationSpec   `json:"spec"`
	Status            InvocationStatus `json:"status,omitempty"`
}

// InvocationList is a list of invocations.
//
// +kubebuilder:object:root=true
type InvocationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Invocation `json:"items"`
}

// InvocationSpec is what is called, and with what. It does not change.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an invocation does not change; create another"
type InvocationSpec struct {
	// Function is in the invocation's own namespace.
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	Function string `json:"function"`
	// ContentType is the data's media type.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	// +kubebuilder:default="application/octet-stream"
	// +optional
	ContentType string `json:"contentType,omitempty"`
	// Data is the event's: at most 64 KiB.
	// +kubebuilder:validation:MaxLength=87384
	// +optional
	Data []byte `json:"data,omitempty"`
	// Retries is how often the call is made again where the function failed;
	// where no instance was reached, that is not counted.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20
	// +kubebuilder:default=4
	// +optional
	Retries *int32 `json:"retries,omitempty"`
	// TTLSecondsAfterFinished is how long the answer is kept. One that failed
	// is kept for a day at least.
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=604800
	// +kubebuilder:default=3600
	// +optional
	TTLSecondsAfterFinished *int64 `json:"ttlSecondsAfterFinished,omitempty"`
}

// AsyncLabel on a function, with the value true, lets clients ask the gateway
// not to wait for its answers (RFC 7240, respond-async). ByGatewayLabel is on
// the invocations that the gateway makes for them.
const (
	AsyncLabel     = "redoubt.dev/async"
	ByGatewayLabel = "redoubt.dev/by-gateway"
)

// MaxInvocationData is the longest data and the longest answer, in bytes.
const MaxInvocationData = 64 << 10

// InvocationPhase says how far an invocation is.
type InvocationPhase string

// The phases; an empty one is as Pending. One that failed keeps what it was
// called with: it is its own dead letter.
const (
	InvocationPending   InvocationPhase = "Pending"
	InvocationSucceeded InvocationPhase = "Succeeded"
	InvocationFailed    InvocationPhase = "Failed"
)

// InvocationStatus is what became of a call.
type InvocationStatus struct {
	// +kubebuilder:validation:Enum="";Pending;Succeeded;Failed
	Phase InvocationPhase `json:"phase,omitempty"`
	// Attempts is how often the call was made, Unreached how many of these
	// reached no instance.
	Attempts  int32 `json:"attempts,omitempty"`
	Unreached int32 `json:"unreached,omitempty"`
	// NextAttemptTime is when it is made again.
	NextAttemptTime *metav1.MicroTime `json:"nextAttemptTime,omitempty"`
	CompletionTime  *metav1.MicroTime `json:"completionTime,omitempty"`
	// Code is the status of the last answer, ContentType and Answer what it
	// was.
	Code int32 `json:"code,omitempty"`
	// +kubebuilder:validation:MaxLength=256
	ContentType string `json:"contentType,omitempty"`
	// Answer has at most 64 KiB.
	// +kubebuilder:validation:MaxLength=87384
	Answer []byte `json:"answer,omitempty"`
	// Reason and Error say why the last attempt failed.
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// +kubebuilder:validation:MaxLength=16384
	Error string `json:"error,omitempty"`
}

// Finished says whether no more attempts are made.
func (s *InvocationStatus) Finished() bool {
	return s.Phase == InvocationSucceeded || s.Phase == InvocationFailed
}
