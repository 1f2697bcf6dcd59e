package v1

// Labels that say what a revision, pod or route belongs to.
const (
	ServiceLabel                 = "serving.knative.dev/service"
	ConfigurationLabel           = "serving.knative.dev/configuration"
	ConfigurationGenerationLabel = "serving.knative.dev/configurationGeneration"
	RevisionLabel                = "serving.knative.dev/revision"
	RevisionUIDLabel             = "serving.knative.dev/revisionUID"
	RouteLabel                   = "serving.knative.dev/route"
	ServiceUIDLabel              = "serving.knative.dev/serviceUID"
	ConfigurationUIDLabel        = "serving.knative.dev/configurationUID"
)

// Annotations that say who made an object, who changed its spec last, and how
// long a rollout may take.
const (
	CreatorAnnotation         = "serving.knative.dev/creator"
	LastModifierAnnotation    = "serving.knative.dev/lastModifier"
	RolloutDurationAnnotation = "serving.knative.dev/rollout-duration"
)

// RoutingStateLabel of a revision says whether requests go to it. Its values
// are the RoutingStates; RoutingStateModifiedAnnotation has the time, in RFC
// 3339, since when it is so, and RoutesAnnotation the names of the routes, with
// commas.
const (
	RoutingStateLabel              = "serving.knative.dev/routingState"
	RoutingStateModifiedAnnotation = "serving.knative.dev/routingStateModified"
	RoutesAnnotation               = "serving.knative.dev/routes"
)

// RoutingState says whether requests go to a revision.
type RoutingState string

// A revision is pending until a route leads to it, active while one does, and
// in reserve when none does any more or a newer revision has overtaken it.
const (
	RoutingPending RoutingState = "pending"
	RoutingActive  RoutingState = "active"
	RoutingReserve RoutingState = "reserve"
)

// KeepAnnotation on a revision, with the value true, keeps it from being
// collected.
const KeepAnnotation = "serving.knative.dev/no-gc"

// VisibilityLabel on a service or route, with VisibilityClusterLocal, keeps it
// from being reached from outside the cluster.
const (
	VisibilityLabel        = "networking.knative.dev/visibility"
	VisibilityClusterLocal = "cluster-local"
)

// Annotations that steer the scale of a revision.
const (
	MinScaleAnnotation          = "autoscaling.knative.dev/min-scale"
	MaxScaleAnnotation          = "autoscaling.knative.dev/max-scale"
	InitialScaleAnnotation      = "autoscaling.knative.dev/initial-scale"
	ActivationScaleAnnotation   = "autoscaling.knative.dev/activation-scale"
	ScaleDownDelayAnnotation    = "autoscaling.knative.dev/scale-down-delay"
	ClassAnnotation             = "autoscaling.knative.dev/class"
	AggregationAnnotation       = "autoscaling.knative.dev/metric-aggregation-algorithm"
	MetricAnnotation            = "autoscaling.knative.dev/metric"
	TargetAnnotation            = "autoscaling.knative.dev/target"
	TargetUtilizationAnnotation = "autoscaling.knative.dev/target-utilization-percentage"
	WindowAnnotation            = "autoscaling.knative.dev/window"
	PanicWindowAnnotation       = "autoscaling.knative.dev/panic-window-percentage"
	PanicThresholdAnnotation    = "autoscaling.knative.dev/panic-threshold-percentage"
	RetentionAnnotation         = "autoscaling.knative.dev/scale-to-zero-pod-retention-period"
)

// The classes of autoscaler: by what is asked of instances, and by what they
// take of processors or memory.
const (
	ClassKPA = "kpa.autoscaling.knative.dev"
	ClassHPA = "hpa.autoscaling.knative.dev"
)

// Defaults of what a revision leaves out.
const (
	DefaultPort           = 8080
	DefaultTimeoutSeconds = 300
	UserContainer         = "user-container"
)
