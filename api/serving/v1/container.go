package v1

import corev1 "k8s.io/api/core/v1"

// Container has the fields of a pod's container that a revision may set.
// Instances come and go with the traffic, so what assumes a person at a
// terminal, a fixed instance or raw devices is not among them.
type Container struct {
	// Name is optional; user-container is the default.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`
	// +optional
	Name string `json:"name,omitempty"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-zA-Z0-9]+([._-]+[a-zA-Z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]*)?(@sha256:[0-9a-f]{64})?$')",message="failed to parse image reference: write [REGISTRY[:PORT]/]NAME[:TAG][@sha256:DIGEST]"
	Image string `json:"image"`
	// +kubebuilder:validation:Enum="";Always;Never;IfNotPresent
	// +optional
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// +optional
	Command []string `json:"command,omitempty"`
	// +optional
	Args []string `json:"args,omitempty"`
	// +optional
	WorkingDir string `json:"workingDir,omitempty"`
	// +optional
	Env []corev1.EnvVar `json:"env,omitempty"`
	// +optional
	EnvFrom []corev1.EnvFromSource `json:"envFrom,omitempty"`
	// Ports has at most one: where the requests go.
	// +kubebuilder:validation:MaxItems=1
	// +optional
	Ports []ContainerPort `json:"ports,omitempty"`
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.all(m, !has(m.mountPropagation))",message="mountPropagation must not be set: mounts do not leave the sandbox"
	// +optional
	VolumeMounts []corev1.VolumeMount `json:"volumeMounts,omitempty"`
	// +optional
	LivenessProbe *Probe `json:"livenessProbe,omitempty"`
	// +optional
	ReadinessProbe *Probe `json:"readinessProbe,omitempty"`
	// +optional
	StartupProbe *Probe `json:"startupProbe,omitempty"`
	// +kubebuilder:validation:XValidation:rule="!has(self.privileged) || !self.privileged",message="privileged must not be true: a sandbox keeps its walls",fieldPath=".privileged"
	// +kubebuilder:validation:XValidation:rule="!has(self.procMount) && !has(self.seLinuxOptions) && !has(self.windowsOptions) && !has(self.appArmorProfile)",message="procMount, seLinuxOptions, appArmorProfile and windowsOptions must not be set: they are the platform's"
	// +kubebuilder:validation:XValidation:rule="!has(self.runAsUser) || self.runAsUser >= 0 && self.runAsUser <= 2147483647",message="expected 0 <= runAsUser <= 2147483647",fieldPath=".runAsUser"
	// +kubebuilder:validation:XValidation:rule="!has(self.runAsGroup) || self.runAsGroup >= 0 && self.runAsGroup <= 2147483647",message="expected 0 <= runAsGroup <= 2147483647",fieldPath=".runAsGroup"
	// +optional
	SecurityContext *corev1.SecurityContext `json:"securityContext,omitempty"`
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	TerminationMessagePath string `json:"terminationMessagePath,omitempty"`
	// +kubebuilder:validation:Enum="";File;FallbackToLogsOnError
	// +optional
	TerminationMessagePolicy corev1.TerminationMessagePolicy `json:"terminationMessagePolicy,omitempty"`
}

// ContainerPort is where a container listens. It is no port of the node, and
// its name says what is spoken there.
type ContainerPort struct {
	// Name is h2c for HTTP/2 without TLS; http1 and none are HTTP/1.1.
	// +kubebuilder:validation:Enum="";http1;h2c
	// +optional
	Name string `json:"name,omitempty"`
	// ContainerPort is 8080 where it is left out or 0.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	// +optional
	ContainerPort int32 `json:"containerPort,omitempty"`
	// +kubebuilder:validation:Enum="";TCP
	// +optional
	Protocol corev1.Protocol `json:"protocol,omitempty"`
}

// Core is the container as a pod has it; its probes go to port where they name
// none.
func (c *Container) Core(port int32) corev1.Container {
	core := corev1.Container{
		Name:                     c.Name,
		Image:                    c.Image,
		ImagePullPolicy:          c.ImagePullPolicy,
		Command:                  c.Command,
		Args:                     c.Args,
		WorkingDir:               c.WorkingDir,
		Env:                      c.Env,
		EnvFrom:                  c.EnvFrom,
		Resources:                c.Resources,
		VolumeMounts:             c.VolumeMounts,
		LivenessProbe:            c.LivenessProbe.Core(port),
		ReadinessProbe:           c.ReadinessProbe.Core(port),
		StartupProbe:             c.StartupProbe.Core(port),
		SecurityContext:          c.SecurityContext,
		TerminationMessagePath:   c.TerminationMessagePath,
		TerminationMessagePolicy: c.TerminationMessagePolicy,
	}
	for _, p := range c.Ports {
		number := p.ContainerPort
		if number == 0 {
			number = DefaultPort
		}
		core.Ports = append(core.Ports, corev1.ContainerPort{Name: p.Name, ContainerPort: number, Protocol: corev1.ProtocolTCP})
	}
	return core
}
