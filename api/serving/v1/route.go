package v1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Route divides the requests for one name among revisions.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=routes,singular=route,shortName=rt,categories=all;knative;serving
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].reason`
type Route struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              RouteSpec `json:"spec"`
	// The whole of it is the controllers': who owns which part need not be kept.
	// +structType=atomic
	Status RouteStatus `json:"status,omitempty"`
}

// RouteList is a list of routes.
//
// +kubebuilder:object:root=true
type RouteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Route `json:"items"`
}

// RouteSpec says who gets which share.
type RouteSpec struct {
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.map(t, has(t.percent) ? t.percent : 0).sum() == 100",message="the percentages must add up to 100"
	// +kubebuilder:validation:XValidation:rule="self.all(t, !(has(t.revisionName) && size(t.revisionName) > 0 && has(t.configurationName) && size(t.configurationName) > 0))",message="expected exactly one of configurationName, revisionName"
	// +kubebuilder:validation:XValidation:rule="self.all(t, !has(t.latestRevision) || t.latestRevision != (has(t.revisionName) && size(t.revisionName) > 0))",message="latestRevision must be false where revisionName names a revision, and true where it does not"
	// +kubebuilder:validation:XValidation:rule="self.all(t, !has(t.url) || size(t.url) == 0)",message="url must not be set: the route makes it"
	// +kubebuilder:validation:XValidation:rule="self.filter(t, has(t.tag) && size(t.tag) > 0).all(t, self.exists_one(u, has(u.tag) && u.tag == t.tag))",message="each tag may be used once"
	// +optional
	Traffic []TrafficTarget `json:"traffic,omitempty"`
}

// TrafficTarget is one revision and its share of the requests.
type TrafficTarget struct {
	// Tag gives the target a name of its own: TAG-NAME.NAMESPACE.DOMAIN.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z]([-a-z0-9]*[a-z0-9])?)?$`
	// +optional
	Tag string `json:"tag,omitempty"`
	// +kubebuilder:validation:MaxLength=253
	// +optional
	RevisionName string `json:"revisionName,omitempty"`
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ConfigurationName string `json:"configurationName,omitempty"`
	// LatestRevision follows the newest ready revision.
	// +optional
	LatestRevision *bool `json:"latestRevision,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	Percent *int64 `json:"percent,omitempty"`
	// URL is set in the status, for targets with a tag.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	URL string `json:"url,omitempty"`
}

// RouteStatus is what is known of a route.
type RouteStatus struct {
	ObservedGeneration int64      `json:"observedGeneration,omitempty"`
	Conditions         Conditions `json:"conditions,omitempty"`

	RouteStatusFields `json:",inline"`

	// Rollouts are the changes of a target's revision that are under way.
	Rollouts []Rollout `json:"rollouts,omitempty"`
}

// Rollout leads a target's requests to a new revision little by little.
type Rollout struct {
	// ConfigurationName and Tag say which of the route's targets it is.
	ConfigurationName string `json:"configurationName"`
	Tag               string `json:"tag,omitempty"`
	// RevisionName has got more and more of the requests since StartTime.
	RevisionName string      `json:"revisionName"`
	StartTime    metav1.Time `json:"startTime"`
	// Percent is what it divides of the route's requests.
	Percent int64 `json:"percent"`
	// From is how they were divided before.
	From []RolloutShare `json:"from"`
}

// RolloutShare is a revision's share when a rollout began.
type RolloutShare struct {
	RevisionName string `json:"revisionName"`
	Percent      int64  `json:"percent"`
}

// RouteStatusFields are shared with the service.
type RouteStatusFields struct {
	// URL is where the route answers outside the cluster.
	URL string `json:"url,omitempty"`
	// Address is where it answers inside the cluster.
	Address *Address `json:"address,omitempty"`
	// Traffic names a revision for every share.
	Traffic []TrafficTarget `json:"traffic,omitempty"`
}

// Address is an addressable's URL.
type Address struct {
	URL string `json:"url,omitempty"`
}

// PublicURL is where a host answers at a port of the gateway; 0 and 80 are not
// shown.
func PublicURL(host string, port int) string {
	if port == 0 || port == 80 {
		return "http://" + host
	}
	return fmt.Sprintf("http://%s:%d", host, port)
}
