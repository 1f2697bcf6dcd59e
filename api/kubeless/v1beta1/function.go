// Package v1beta1 holds the kinds of kubeless.io/v1beta1 as Redoubt serves
// them: Kubeless's field names, and the class of sandbox that Kubeless had no
// place for.
//
// +kubebuilder:object:generate=true
// +groupName=kubeless.io
package v1beta1

//go:generate go tool -modfile=../../../.ci/tools.mod controller-gen object crd:generateEmbeddedObjectMeta=true,maxDescLen=0 paths=. output:crd:dir=../../../config/crd

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// GroupVersion is the group and version of this package's kinds.
var GroupVersion = schema.GroupVersion{Group: "kubeless.io", Version: "v1beta1"}

// AddToScheme registers this package's kinds.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Function{}, &FunctionList{}, &CronJobTrigger{}, &CronJobTriggerList{}, &HTTPTrigger{}, &HTTPTriggerList{}, &NATSTrigger{}, &NATSTriggerList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

// FunctionLabel names the function that an object was made for.
const FunctionLabel = "kubeless.io/function"

// SourceLabel is on the ConfigMaps that the controllers made of a function's source,
// and says by a digest of which version.
const SourceLabel = "redoubt.dev/source"

// RollbackAnnotation lets an earlier revision of the function's service answer
// for it: REVISION@GENERATION, where the generation is the function's own. A
// later one, which any change of the spec makes, ends the rollback.
const RollbackAnnotation = "redoubt.dev/rollback"

// Rollback is the annotation's value for fn as it is now.
func Rollback(fn *Function, revision string) string {
	return revision + "@" + strconv.FormatInt(fn.Generation, 10)
}

// RolledBack returns the revision that fn is rolled back to, if it is.
func RolledBack(fn *Function) (revision string, ok bool) {
	revision, generation, _ := strings.Cut(fn.Annotations[RollbackAnnotation], "@")
	return revision, revision != "" && generation == strconv.FormatInt(fn.Generation, 10)
}

// PoolAnnotation of a function, and of the revisions that run it, says how many
// spare instances wait for their first call: 0, the default, to MaxPool. They are
// shared with functions of the namespace that run in the same kind of pod.
const PoolAnnotation = "redoubt.dev/warm-pool"

// MaxPool is the most spare instances of one kind.
const MaxPool = 10

// Pool is the size that annotations say.
func Pool(annotations map[string]string) (int, error) {
	value, ok := annotations[PoolAnnotation]
	if !ok {
		return 0, nil
	}
	size, err := strconv.Atoi(value)
	if err != nil || size < 0 || size > MaxPool {
		return 0, fmt.Errorf("metadata.annotations[%s]: %q is not a number of spare instances from 0 to %d", PoolAnnotation, value, MaxPool)
	}
	return size, nil
}

// SpareLabel is on spare instances, and says of which kind they are. It goes when
// one becomes a function's.
const SpareLabel = "redoubt.dev/spare"

// BuildLabel is on the pod that installs what a function depends on, or compiles
// it, and says by a digest what of. BuildRuntimeLabel names the runtime.
const (
	BuildLabel        = "redoubt.dev/build"
	BuildRuntimeLabel = "redoubt.dev/build-runtime"
)

// BuildPort is where a build hands its result over, once it is done.
const BuildPort = 8080

// PodStored is the condition of a build's pod by which its node says whether the
// result is in the node's image store.
const PodStored corev1.PodConditionType = "redoubt.dev/Stored"

// BuiltImage is the image that a node makes of a build's result. Pods of its
// namespace alone may use it.
func BuiltImage(namespace, build string) string {
	return "localhost/redoubt/build/" + namespace + ":" + build
}

const (
	// PartKey is where a ConfigMap has its part of a source that is above what a
	// Function takes.
	PartKey = "part"
	// PartLabel is on ConfigMaps with parts that redoubt made, and is the name of
	// their function.
	PartLabel = "redoubt.dev/source-of"
	// MaxParts is how many there may be, and MaxPart how many bytes one may have:
	// what a ConfigMap takes.
	MaxParts = 32
	MaxPart  = 1_000_000
)

// InConfigMaps is how the content types begin of sources in ConfigMaps.
const InConfigMaps = "configmap"

// Parts are the names of the ConfigMaps with fn's source, in order; none where
// the Function has it itself.
func Parts(fn *Function) []string {
	if encoding, _, _ := strings.Cut(fn.Spec.FunctionContentType, "+"); encoding != InConfigMaps {
		return nil
	}
	return strings.Fields(fn.Spec.Function)
}

// Module is the part of the handler that names the source's file, without its
// ending.
func Module(fn *Function) string {
	file, _, _ := strings.Cut(fn.Spec.Handler, ".")
	return file
}

// Function is a handler in the owner's language and how to run it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=functions,singular=function,shortName=fn,categories=all
// +kubebuilder:printcolumn:name="Handler",type=string,JSONPath=`.spec.handler`
// +kubebuilder:printcolumn:name="Runtime",type=string,JSONPath=`.spec.runtime`
// +kubebuilder:printcolumn:name="Class",type=string,JSONPath=`.spec.runtimeClassName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].reason`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 50 lower-case letters, digits and hyphens, a letter first"
type Function struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              FunctionSpec   `json:"spec"`
	Status            FunctionStatus `json:"status,omitempty"`
}

// FunctionList is a list of functions.
//
// +kubebuilder:object:root=true
type FunctionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Function `json:"items"`
}

// FunctionSpec is the function's source and surroundings.
//
// +kubebuilder:validation:XValidation:rule="!has(self.deps) || size(self.deps) == 0 || self.runtime in ['go', 'nodejs', 'python3']",message="dependencies are installed for go, nodejs and python3 alone; put what the function needs into its archive",fieldPath=".deps"
// +kubebuilder:validation:XValidation:rule="!has(self.function__dash__content__dash__type) || !self.function__dash__content__dash__type.startsWith('configmap') || (has(self.checksum) && size(self.checksum) > 0)",message="is needed where the source is in ConfigMaps: sha256: and the digest of the archive",fieldPath=".checksum"
// +kubebuilder:validation:XValidation:rule="!has(self.function__dash__content__dash__type) || !self.function__dash__content__dash__type.startsWith('configmap') || !has(self.deps) || size(self.deps) == 0",message="must be in the archive where the source is in ConfigMaps",fieldPath=".deps"
type FunctionSpec struct {
	// Handler is FILE.FUNCTION: the source's name without its ending, and
	// what to call in it.
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z_][A-Za-z0-9_]*[.][A-Za-z_][A-Za-z0-9_]*$')",message="must be FILE.FUNCTION, as in test.hello: the file's name without its ending, a dot, and the function in it"
	Handler string `json:"handler"`
	// Runtime is the language that runs it.
	// +kubebuilder:validation:XValidation:rule="self in ['binary', 'go', 'java', 'nodejs', 'php', 'python3', 'ruby', 'wasm']",message="is not a runtime that is here; use one of binary, go, java, nodejs, php, python3, ruby, wasm"
	// +kubebuilder:validation:MaxLength=64
	Runtime string `json:"runtime"`
	// RuntimeClassName names the sandbox that it runs in.
	// +optional
	RuntimeClassName *string `json:"runtimeClassName,omitempty"`
	// Function is the source, or the names of the ConfigMaps that hold it, one on a
	// line.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1000000
	Function string `json:"function"`
	// FunctionContentType says how Function is written.
	// An archive holds the handler's file in its top folder. One in ConfigMaps is cut
	// into parts, of which each has one as its binaryData.part.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self in ['', 'text', 'base64', 'base64+zip', 'base64+compressedtar', 'configmap+zip', 'configmap+compressedtar']",message="must be text, base64, base64+zip, base64+compressedtar, configmap+zip or configmap+compressedtar; a URL is fetched where one deploys: redoubt function deploy --from-file URL"
	// +kubebuilder:default=text
	// +optional
	FunctionContentType string `json:"function-content-type,omitempty"`
	// Checksum, if given, is sha256: and the digest of the source, or of its
	// archive.
	// +kubebuilder:validation:Pattern=`^(sha256:[0-9a-f]{64})?$`
	// +optional
	Checksum string `json:"checksum,omitempty"`
	// Timeout is how many seconds a call may take, 180 by default.
	// +kubebuilder:validation:Pattern=`^[0-9]{0,3}$`
	// +optional
	Timeout string `json:"timeout,omitempty"`
	// Deps are what the function depends on, as its language writes it:
	// package.json, requirements.txt or go.mod.
	// +kubebuilder:validation:MaxLength=200000
	// +optional
	Deps string `json:"deps,omitempty"`
	// Service names the port that the function listens on inside of its
	// sandbox.
	// +optional
	Service Service `json:"service,omitempty"`
	// Deployment carries the settings that Kubeless keeps in a Deployment.
	// +optional
	Deployment Deployment `json:"deployment,omitempty"`
	// HorizontalPodAutoscaler bounds the instances, where annotations of the
	// template do not.
	// +optional
	HorizontalPodAutoscaler Autoscaler `json:"horizontalPodAutoscaler,omitempty"`
}

// Autoscaler is what a function takes over from the HorizontalPodAutoscaler in
// its spec.
type Autoscaler struct {
	// +optional
	Spec AutoscalerSpec `json:"spec,omitempty"`
	// Metadata and Status are without effect.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Metadata *runtime.RawExtension `json:"metadata,omitempty"`
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Status *runtime.RawExtension `json:"status,omitempty"`
}

// AutoscalerSpec bounds a function's instances and says what to count them by.
type AutoscalerSpec struct {
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	MinReplicas *int32 `json:"minReplicas,omitempty"`
	// MaxReplicas of 0 is no bound, as Kubeless writes it for functions that
	// are not scaled.
	// +kubebuilder:validation:Minimum=0
	// +optional
	MaxReplicas int32 `json:"maxReplicas,omitempty"`
	// Metrics names what to scale on.
	// +kubebuilder:validation:MaxItems=1
	// +optional
	Metrics []Metric `json:"metrics,omitempty"`
	// ScaleTargetRef is without effect.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	ScaleTargetRef *runtime.RawExtension `json:"scaleTargetRef,omitempty"`
}

// Metric is one that a HorizontalPodAutoscaler goes by, as autoscaling/v2beta1 has
// it: Kubeless writes processor time as a Resource, and calls a second as an Object.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'Resource' ? has(self.resource) && !has(self.object) : self.type != 'Object' || has(self.object) && !has(self.resource)",message="type Resource needs resource, and type Object needs object, alone"
// +kubebuilder:pruning:PreserveUnknownFields
type Metric struct {
	// +kubebuilder:validation:XValidation:rule="self in ['Resource', 'Object']",message="is not taken over; use Resource (cpu or memory) or Object (function_calls), or: redoubt autoscale create NAME --metric qps --value N"
	// +kubebuilder:validation:MaxLength=64
	Type string `json:"type"`
	// +optional
	Resource *ResourceMetric `json:"resource,omitempty"`
	// +optional
	Object *ObjectMetric `json:"object,omitempty"`
}

// ResourceMetric is the mean of what instances use.
//
// +kubebuilder:validation:XValidation:rule="self.name == 'memory' ? has(self.targetAverageValue) && !has(self.targetAverageUtilization) : !has(self.targetAverageValue)",message="cpu has a targetAverageUtilization, in percent of the request, and memory needs a targetAverageValue"
type ResourceMetric struct {
	// +kubebuilder:validation:XValidation:rule="self in ['cpu', 'memory']",message="is not what functions can be scaled on; use cpu or memory"
	// +kubebuilder:validation:MaxLength=64
	Name string `json:"name"`
	// TargetAverageUtilization is in percent of what an instance asks for; 80 by
	// default.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	TargetAverageUtilization *int32 `json:"targetAverageUtilization,omitempty"`
	// TargetAverageValue is the memory that an instance should take, in bytes.
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('1Mi')) >= 0 && quantity(string(self)).compareTo(quantity('1Ti')) < 0",message="must be from 1Mi to less than 1Ti"
	// +optional
	TargetAverageValue *resource.Quantity `json:"targetAverageValue,omitempty"`
}

// ObjectMetric is of calls.
type ObjectMetric struct {
	// +kubebuilder:validation:XValidation:rule="self == 'function_calls'",message="is not what functions can be scaled on; use function_calls"
	// +kubebuilder:validation:MaxLength=64
	MetricName string `json:"metricName"`
	// TargetValue is how many calls a second an instance can take.
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('10m')) >= 0 && quantity(string(self)).compareTo(quantity('1M')) <= 0",message="must be from 10m to 1M calls a second"
	TargetValue resource.Quantity `json:"targetValue"`
	// Target is without effect: the calls are the function's.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Target *runtime.RawExtension `json:"target,omitempty"`
}

// Service is what a function takes over from the Service in its spec. The
// gateway serves every function on its own port.
type Service struct {
	// +kubebuilder:validation:MaxItems=1
	// +optional
	Ports []corev1.ServicePort `json:"ports,omitempty"`
	// Selector and Type are without effect.
	// +optional
	Selector map[string]string `json:"selector,omitempty"`
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Type string `json:"type,omitempty"`
}

// Deployment is what a function takes over from the Deployment in its spec.
type Deployment struct {
	// +optional
	Spec DeploymentSpec `json:"spec,omitempty"`
	// Metadata and Status are without effect.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Metadata *runtime.RawExtension `json:"metadata,omitempty"`
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Status *runtime.RawExtension `json:"status,omitempty"`
}

// DeploymentSpec holds the template.
type DeploymentSpec struct {
	// +optional
	Template PodTemplate `json:"template,omitempty"`
	// Selector and Strategy are without effect: each change makes a version,
	// which gets the requests when it is ready.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Selector *runtime.RawExtension `json:"selector,omitempty"`
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Strategy *runtime.RawExtension `json:"strategy,omitempty"`
}

// PodTemplate is the pod that runs the function.
type PodTemplate struct {
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// +optional
	Spec PodSpec `json:"spec,omitempty"`
}

// PodSpec is what a function may set of its pod.
type PodSpec struct {
	// +kubebuilder:validation:MaxItems=1
	// +optional
	Containers []Container `json:"containers,omitempty"`
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// +optional
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Volumes []Volume `json:"volumes,omitempty"`
}

// Volume is a secret, a ConfigMap or an empty folder for the function.
//
// +kubebuilder:validation:XValidation:rule="[has(self.secret), has(self.configMap), has(self.emptyDir)].filter(x, x).size() == 1",message="must have one of secret, configMap and emptyDir"
type Volume struct {
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self != 'source'",message="is the name of the function's own source; choose another"
	Name string `json:"name"`
	// +optional
	Secret *corev1.SecretVolumeSource `json:"secret,omitempty"`
	// +optional
	ConfigMap *corev1.ConfigMapVolumeSource `json:"configMap,omitempty"`
	// +optional
	EmptyDir *corev1.EmptyDirVolumeSource `json:"emptyDir,omitempty"`
}

// Container is what a function may set of its container.
type Container struct {
	// +optional
	Name string `json:"name,omitempty"`
	// Image replaces the runtime's own.
	// +optional
	Image string `json:"image,omitempty"`
	// +optional
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// +optional
	Env []corev1.EnvVar `json:"env,omitempty"`
	// +optional
	EnvFrom []corev1.EnvFromSource `json:"envFrom,omitempty"`
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`
	// +optional
	VolumeMounts []corev1.VolumeMount `json:"volumeMounts,omitempty"`
}

// FunctionStatus is what is known of a function.
type FunctionStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         serving.Conditions `json:"conditions,omitempty"`
	// URL is where the function answers outside the cluster.
	URL string `json:"url,omitempty"`
}
