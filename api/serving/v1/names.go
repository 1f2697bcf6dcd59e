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
	MetricAnnotation            = "autoscaling.knative.dev/metric"
	TargetAnnotation            = "autoscaling.knative.dev/target"
	TargetUtilizationAnnotation = "autoscaling.knative.dev/target-utilization-percentage"
	WindowAnnotation            = "autoscaling.knative.dev/window"
	PanicWindowAnnotation       = "autoscaling.knative.dev/panic-window-percentage"
	PanicThresholdAnnotation    = "autoscaling.knative.dev/panic-threshold-percentage"
	RetentionAnnotation         = "autoscaling.knative.dev/scale-to-zero-pod-retention-period"
)

// Defaults of what a revision leaves out.
const (
	DefaultPort           = 8080
	DefaultTimeoutSeconds = 300
	UserContainer         = "user-container"
)
