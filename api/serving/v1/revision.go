package v1

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Revision is one immutable version of a service's code and configuration.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=revisions,singular=revision,shortName=rev,categories=all;knative;serving
// +kubebuilder:printcolumn:name="Config Name",type=string,JSONPath=`.metadata.labels['serving\.knative\.dev/configuration']`
// +kubebuilder:printcolumn:name="Generation",type=string,JSONPath=`.metadata.labels['serving\.knative\.dev/configurationGeneration']`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].reason`
// +kubebuilder:printcolumn:name="Actual Replicas",type=integer,JSONPath=`.status.actualReplicas`
// +kubebuilder:printcolumn:name="Desired Replicas",type=integer,JSONPath=`.status.desiredReplicas`
// +kubebuilder:printcolumn:name="Class",type=string,priority=1,JSONPath=`.spec.runtimeClassName`
type Revision struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a revision does not change; change its service's template, which makes a new one"
	// +structType=atomic
	Spec RevisionSpec `json:"spec"`
	// The whole of it is the controllers': who owns which part need not be kept.
	// +structType=atomic
	Status RevisionStatus `json:"status,omitempty"`
}

// RevisionList is a list of revisions.
//
// +kubebuilder:object:root=true
type RevisionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Revision `json:"items"`
}

// RevisionTemplate is what a configuration's revisions are made from.
type RevisionTemplate struct {
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              RevisionSpec `json:"spec"`
}

// RevisionSpec says what runs and how requests reach it.
//
// +kubebuilder:validation:XValidation:rule="self.containers.filter(c, has(c.ports) && size(c.ports) > 0).size() <= 1",message="only one container may have ports: it is the one that gets the requests",fieldPath=".containers"
// +kubebuilder:validation:XValidation:rule="size(self.containers) == 1 || self.containers.exists(c, has(c.ports) && size(c.ports) > 0)",message="of several containers one must have ports, to say which gets the requests",fieldPath=".containers"
type RevisionSpec struct {
	PodFields `json:",inline"`

	// ContainerConcurrency is how many requests one instance gets at a time;
	// 0 is no limit.
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	ContainerConcurrency int64 `json:"containerConcurrency,omitempty"`
	// TimeoutSeconds is how long a whole request may take; 0 is the default.
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=600
	// +optional
	TimeoutSeconds int64 `json:"timeoutSeconds,omitempty"`
	// ResponseStartTimeoutSeconds is how long the first byte of the answer may
	// take; 0 leaves it to TimeoutSeconds.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=600
	// +optional
	ResponseStartTimeoutSeconds int64 `json:"responseStartTimeoutSeconds,omitempty"`
	// IdleTimeoutSeconds is how long a request may pass no byte; 0 is for ever.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=600
	// +optional
	IdleTimeoutSeconds int64 `json:"idleTimeoutSeconds,omitempty"`
}

// PodFields are the fields of a pod that a revision may set.
type PodFields struct {
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Containers []Container `json:"containers"`
	// +kubebuilder:validation:MaxItems=16
	// +optional
	InitContainers []Container `json:"initContainers,omitempty"`
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(v, has(v.configMap) || has(v.secret) || has(v.projected) || has(v.emptyDir) || has(v.persistentVolumeClaim) || has(v.image))",message="expected exactly one of configMap, emptyDir, image, persistentVolumeClaim, projected, secret: no other kind of volume can be used"
	// +optional
	Volumes []corev1.Volume `json:"volumes,omitempty"`
	// RuntimeClassName names the sandbox that the instances run in.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	RuntimeClassName *string `json:"runtimeClassName,omitempty"`
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$`
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// +optional
	AutomountServiceAccountToken *bool `json:"automountServiceAccountToken,omitempty"`
	// +optional
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
	// +optional
	EnableServiceLinks *bool `json:"enableServiceLinks,omitempty"`
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// +optional
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// +kubebuilder:validation:XValidation:rule="!has(self.seLinuxOptions) && !has(self.windowsOptions) && !has(self.appArmorProfile) && !has(self.sysctls)",message="seLinuxOptions, appArmorProfile, windowsOptions and sysctls must not be set: they are the platform's"
	// +kubebuilder:validation:XValidation:rule="!has(self.runAsUser) || self.runAsUser >= 0 && self.runAsUser <= 2147483647",message="expected 0 <= runAsUser <= 2147483647",fieldPath=".runAsUser"
	// +kubebuilder:validation:XValidation:rule="!has(self.runAsGroup) || self.runAsGroup >= 0 && self.runAsGroup <= 2147483647",message="expected 0 <= runAsGroup <= 2147483647",fieldPath=".runAsGroup"
	// +optional
	SecurityContext *corev1.PodSecurityContext `json:"securityContext,omitempty"`
	// +optional
	ShareProcessNamespace *bool `json:"shareProcessNamespace,omitempty"`
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// +optional
	SchedulerName string `json:"schedulerName,omitempty"`
	// +optional
	HostAliases []corev1.HostAlias `json:"hostAliases,omitempty"`
	// +optional
	DNSPolicy corev1.DNSPolicy `json:"dnsPolicy,omitempty"`
	// +optional
	DNSConfig *corev1.PodDNSConfig `json:"dnsConfig,omitempty"`
}

// RevisionStatus is what is known of a revision.
type RevisionStatus struct {
	ObservedGeneration int64      `json:"observedGeneration,omitempty"`
	Conditions         Conditions `json:"conditions,omitempty"`
	// ActualReplicas is how many instances are ready.
	ActualReplicas *int32 `json:"actualReplicas,omitempty"`
	// DesiredReplicas is how many there should be.
	DesiredReplicas *int32 `json:"desiredReplicas,omitempty"`
	// ColdStarts are the last requests that had to wait for an instance to be
	// created or thawed, in order of time.
	ColdStarts []ColdStart `json:"coldStarts,omitempty"`
	// ContainerStatuses say which image each container's tag stood for when
	// the revision was made.
	ContainerStatuses     []ContainerStatus `json:"containerStatuses,omitempty"`
	InitContainerStatuses []ContainerStatus `json:"initContainerStatuses,omitempty"`
}

// ColdStart is a request that found no running instance.
type ColdStart struct {
	// Time is when it got one.
	Time metav1.MicroTime `json:"time"`
	// Kind is Created for a new pod, Thawed for one that was frozen.
	Kind string `json:"kind"`
	// Took is how long it waited.
	Took metav1.Duration `json:"took"`
}

// ContainerStatus is what an image's name was resolved to.
type ContainerStatus struct {
	Name        string `json:"name,omitempty"`
	ImageDigest string `json:"imageDigest,omitempty"`
}

// Serving is the container that gets the requests: the one with a port, or the
// only one.
func (s *RevisionSpec) Serving() *Container {
	for i := range s.Containers {
		if len(s.Containers[i].Ports) > 0 {
			return &s.Containers[i]
		}
	}
	if len(s.Containers) == 0 {
		return &Container{}
	}
	return &s.Containers[0]
}

// Port is where the instance's container listens: its one declared port, or
// the default.
func (s *RevisionSpec) Port() int32 {
	for _, p := range s.Serving().Ports {
		if p.ContainerPort != 0 {
			return p.ContainerPort
		}
	}
	return DefaultPort
}

// HTTP2 says whether the container speaks HTTP/2 without TLS: its port is
// named h2c.
func (s *RevisionSpec) HTTP2() bool {
	ports := s.Serving().Ports
	return len(ports) > 0 && ports[0].Name == "h2c"
}

// ConfigurationGeneration is that of the configuration which the revision was
// made from; 0 where its label has been spoilt.
func (r *Revision) ConfigurationGeneration() int64 {
	n, err := strconv.ParseInt(r.Labels[ConfigurationGenerationLabel], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
