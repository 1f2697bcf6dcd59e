package v1

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Conditions of the kinds in this package.
const (
	Ready               = "Ready"
	ConfigurationsReady = "ConfigurationsReady"
	RoutesReady         = "RoutesReady"
	ResourcesAvailable  = "ResourcesAvailable"
	ContainerHealthy    = "ContainerHealthy"
	Active              = "Active"
	AllTrafficAssigned  = "AllTrafficAssigned"
	IngressReady        = "IngressReady"
)

// Condition is one thing that is true, false or not known of an object.
type Condition struct {
	Type   string                 `json:"type"`
	Status corev1.ConditionStatus `json:"status"`
	// Severity is empty for what Ready depends on, Info for the rest.
	Severity           string      `json:"severity,omitempty"`
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty"`
	Reason             string      `json:"reason,omitempty"`
	Message            string      `json:"message,omitempty"`
}

// Conditions are an object's, ordered by type.
type Conditions []Condition

// Get returns the condition of a type, Unknown when there is none.
func (c Conditions) Get(kind string) Condition {
	for _, condition := range c {
		if condition.Type == kind {
			return condition
		}
	}
	return Condition{Type: kind, Status: corev1.ConditionUnknown}
}

// IsTrue says whether the condition of a type holds.
func (c Conditions) IsTrue(kind string) bool { return c.Get(kind).Status == corev1.ConditionTrue }

// Set replaces the condition of next's type. The time of the last transition
// moves only when the status does.
func (c *Conditions) Set(next Condition, now metav1.Time) {
	next.LastTransitionTime = now
	for i, old := range *c {
		if old.Type != next.Type {
			continue
		}
		if old.Status == next.Status {
			next.LastTransitionTime = old.LastTransitionTime
		}
		(*c)[i] = next
		return
	}
	*c = append(*c, next)
	slices.SortFunc(*c, func(a, b Condition) int {
		if a.Type < b.Type {
			return -1
		}
		return 1
	})
}

// Adopt takes over the condition of a type from the conditions of something
// that the object owns, once it is known there.
func (c *Conditions) Adopt(kind string, from Conditions, now metav1.Time) {
	if known := from.Get(kind); known.Status != corev1.ConditionUnknown {
		c.Set(known, now)
	}
}
