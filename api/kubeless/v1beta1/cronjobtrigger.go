package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// CronJobTrigger calls a function by a schedule.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=cronjobtriggers,singular=cronjobtrigger,categories=all
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`
// +kubebuilder:printcolumn:name="Zone",type=string,JSONPath=`.spec.timeZone`
// +kubebuilder:printcolumn:name="Function",type=string,JSONPath=`.spec.function-name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].status`
// +kubebuilder:printcolumn:name="Last",type=date,JSONPath=`.status.lastScheduleTime`
type CronJobTrigger struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              CronJobTriggerSpec   `json:"spec"`
	Status            CronJobTriggerStatus `json:"status,omitempty"`
}

// CronJobTriggerList is a list of triggers.
//
// +kubebuilder:object:root=true
type CronJobTriggerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CronJobTrigger `json:"items"`
}

// ConcurrencyPolicy says what happens when a call is due while one runs.
type ConcurrencyPolicy string

// The policies, as a Kubernetes CronJob knows them. Its third, Replace, is not
// among them: a call cannot be taken back.
const (
	AllowConcurrent  ConcurrencyPolicy = "Allow"
	ForbidConcurrent ConcurrencyPolicy = "Forbid"
)

// CronJobTriggerSpec is when what is called.
type CronJobTriggerSpec struct {
	// Schedule is a cron expression of five fields, or @hourly, @daily,
	// @weekly, @monthly, @yearly, or @every and a duration.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.contains('TZ=')",message="must not name a time zone; use spec.timeZone"
	Schedule string `json:"schedule"`
	// FunctionName is in the trigger's own namespace.
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	FunctionName string `json:"function-name"`
	// TimeZone is the one that the schedule means, as Europe/Berlin; UTC by
	// default.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
	// Payload is the event's data: any JSON.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Payload *runtime.RawExtension `json:"payload,omitempty"`
	// StartingDeadlineSeconds is how late a call may be; without it any call
	// that was missed is made up for, once.
	// +kubebuilder:validation:Minimum=1
	// +optional
	StartingDeadlineSeconds *int64 `json:"startingDeadlineSeconds,omitempty"`
	// +kubebuilder:validation:Enum=Allow;Forbid
	// +kubebuilder:default=Allow
	// +optional
	ConcurrencyPolicy ConcurrencyPolicy `json:"concurrencyPolicy,omitempty"`
	// Suspend keeps further calls from being made.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// CronJobTriggerStatus is what is known of the calls.
type CronJobTriggerStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         serving.Conditions `json:"conditions,omitempty"`
	// LastScheduleTime is the time that the last finished call was due.
	LastScheduleTime *metav1.MicroTime `json:"lastScheduleTime,omitempty"`
	// LastSuccessfulTime is when a call was last answered with success.
	LastSuccessfulTime *metav1.MicroTime `json:"lastSuccessfulTime,omitempty"`
	// LastError says why the last call failed; it is empty if it did not.
	LastError string `json:"lastError,omitempty"`
	// Missed counts the calls that were never made, Failed those that failed.
	Missed int64 `json:"missed,omitempty"`
	Failed int64 `json:"failed,omitempty"`
}
