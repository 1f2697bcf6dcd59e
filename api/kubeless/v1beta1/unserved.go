package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// KafkaTrigger is Kubeless's for topics of Kafka. None can be made: who applies one
// is told why, and what there is instead.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=kafkatriggers,singular=kafkatrigger
// +kubebuilder:validation:XValidation:rule="false",message="Kafka is not served; let a bridge put the topic into JetStream, and make a NATSTrigger of it"
type KafkaTrigger struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              UnservedSpec `json:"spec,omitempty"`
}

// KinesisTrigger is Kubeless's for streams of Kinesis, and stands as KafkaTrigger
// does.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=kinesistriggers,singular=kinesistrigger
// +kubebuilder:validation:XValidation:rule="false",message="Kinesis is not served; let a bridge put the stream into JetStream, and make a NATSTrigger of it"
type KinesisTrigger struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              UnservedSpec `json:"spec,omitempty"`
}

// UnservedSpec is whatever Kubeless has in it.
//
// +kubebuilder:pruning:PreserveUnknownFields
type UnservedSpec struct{}
