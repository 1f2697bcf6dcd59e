package v1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Tenant is somebody whose workloads must be kept from those of others: what
// must stand between them and their node, and how much they may use. The
// namespaces with the label redoubt.dev/tenant are the tenant's.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=tenants,singular=tenant,scope=Cluster,categories=redoubt
// +kubebuilder:printcolumn:name="Floor",type=string,JSONPath=`.spec.floor`
// +kubebuilder:printcolumn:name="Default",type=string,JSONPath=`.spec.defaultClass`
// +kubebuilder:printcolumn:name="Classes",type=string,JSONPath=`.status.openClasses`
// +kubebuilder:printcolumn:name="Namespaces",type=string,JSONPath=`.status.namespaces`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=='Ready')].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label: at most 63 lower-case letters, digits and hyphens, a letter first"
type Tenant struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              TenantSpec   `json:"spec"`
	Status            TenantStatus `json:"status,omitempty"`
}

// TenantList is a list of tenants.
//
// +kubebuilder:object:root=true
type TenantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Tenant `json:"items"`
}

// TenantSpec is what the platform's owner says of a tenant.
//
// +kubebuilder:validation:XValidation:rule="!has(self.defaultClass) || !has(self.classes) || self.defaultClass in self.classes",message="defaultClass must be one of classes: add it there, or choose another default"
type TenantSpec struct {
	// Floor is the weakest isolation that the tenant's pods may have.
	//
	// +kubebuilder:validation:Enum=process;kernel;vm
	Floor string `json:"floor"`
	// AllowEmulatedVM lets a virtual machine that runs without KVM count as one
	// that has it. QEMU's security policy does not cover that: say it only
	// where the machine is not what keeps tenants apart.
	AllowEmulatedVM bool `json:"allowEmulatedVM,omitempty"`
	// DefaultClass is the RuntimeClass of pods that name none. Without it a pod
	// that names none is refused.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	DefaultClass string `json:"defaultClass,omitempty"`
	// Classes are the RuntimeClasses that the tenant may use, as far as they
	// keep the floor. Without the list it is every class that does.
	//
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Classes []string `json:"classes,omitempty"`
	// Quota bounds what the tenant has. What a class takes for itself (its
	// overhead) counts.
	Quota TenantQuota `json:"quota,omitempty"`
	// Gateway bounds what the services of all namespaces together get through
	// each gateway.
	Gateway TenantGateway `json:"gateway,omitempty"`
	// Calls opens the wall between tenants for calls of services through the
	// gateway. One passes where both tenants say so: the caller's in to, the
	// other's in from.
	Calls TenantCalls `json:"calls,omitempty"`
	// Credentials are the users whose certificates are good. Removing one takes
	// all of that user's back. At most 256.
	//
	// +listType=map
	// +listMapKey=user
	// +kubebuilder:validation:MaxItems=256
	Credentials []TenantCredential `json:"credentials,omitempty"`
}

// TenantCredential is one of a tenant's users, and which certificates of his are
// good.
type TenantCredential struct {
	// User is his name, as the audit log has it.
	//
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9_.@]*[A-Za-z0-9])?$`
	User string `json:"user"`
	// ID is in his certificates. It is made anew with each entry, so that one who
	// comes back has none of his former certificates'.
	//
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Z2-7]{16,}$`
	ID string `json:"id"`
}

// TenantCalls are tenants by name; a tenant's own services are always open to
// its pods.
type TenantCalls struct {
	// To are those whose services this tenant's pods may call.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	To []string `json:"to,omitempty"`
	// From are those whose pods may call this tenant's services.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	From []string `json:"from,omitempty"`
}

// TenantGateway is what is let through at most; what is not named is not
// bounded.
type TenantGateway struct {
	// RequestsPerSecond may come at once or spread; the rest is answered 429.
	//
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	RequestsPerSecond *int64 `json:"requestsPerSecond,omitempty"`
	// ColdStarts bounds how many revisions start their first instance at a time;
	// requests for others without instances are answered 503.
	//
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	ColdStarts *int64 `json:"coldStarts,omitempty"`
}

// TenantQuota is what may be used at most; what is not named is not bounded,
// but that a namespace holds so many objects of each kind.
//
// +kubebuilder:validation:XValidation:rule="!has(self.cpu) || !quantity(string(self.cpu)).isLessThan(quantity('0'))",message="cpu must not be negative"
// +kubebuilder:validation:XValidation:rule="!has(self.memory) || !quantity(string(self.memory)).isLessThan(quantity('0'))",message="memory must not be negative"
// +kubebuilder:validation:XValidation:rule="!has(self.ephemeralStorage) || !quantity(string(self.ephemeralStorage)).isLessThan(quantity('0'))",message="ephemeralStorage must not be negative"
type TenantQuota struct {
	// CPU and Memory bound the sum of the limits of the pods of all of the
	// tenant's namespaces. Pods for which there is no room wait; those that
	// exceed it with the others of their namespace are refused.
	CPU    *resource.Quantity `json:"cpu,omitempty"`
	Memory *resource.Quantity `json:"memory,omitempty"`
	// EphemeralStorage bounds, in the same way, what pods write on their nodes'
	// disks: their file systems, logs and emptyDir volumes.
	EphemeralStorage *resource.Quantity `json:"ephemeralStorage,omitempty"`
	// Pods bounds their number, in the same way.
	//
	// +kubebuilder:validation:Minimum=0
	Pods *int64 `json:"pods,omitempty"`
	// Services and Functions bound the number of Knative's services, which those
	// of functions are among, and of functions, in all of the tenant's namespaces.
	// A namespace is refused more than the others leave. Where one is not named,
	// each namespace may have 2,000.
	//
	// +kubebuilder:validation:Minimum=0
	Services *int64 `json:"services,omitempty"`
	// +kubebuilder:validation:Minimum=0
	Functions *int64 `json:"functions,omitempty"`
}

// TenantStatus is what is known of a tenant.
type TenantStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Namespaces are the tenant's, by name.
	//
	// +listType=set
	Namespaces []string `json:"namespaces,omitempty"`
	// OpenClasses are the RuntimeClasses that the tenant's pods may name now,
	// weakest first.
	//
	// +listType=set
	OpenClasses []string `json:"openClasses,omitempty"`
	// ClosedClasses are the others, with the reasons.
	//
	// +listType=map
	// +listMapKey=name
	ClosedClasses []ClosedClass `json:"closedClasses,omitempty"`
	// Used is what the pods of all namespaces use of their quotas.
	Used TenantQuota `json:"used,omitempty"`
	// Conditions has Ready: whether the tenant's pods can run as the
	// specification says.
	//
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ClosedClass is a RuntimeClass that a tenant may not use.
type ClosedClass struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Ready is the type of the condition that sums up the others.
const Ready = "Ready"
