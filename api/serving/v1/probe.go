package v1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Probe asks a container how it is. It is a pod's, but need not name the port
// that the revision has already named.
//
// +kubebuilder:validation:XValidation:rule="[has(self.exec), has(self.httpGet), has(self.tcpSocket), has(self.grpc)].filter(x, x).size() <= 1",message="expected exactly one of exec, httpGet, tcpSocket, grpc"
type Probe struct {
	// +optional
	Exec *corev1.ExecAction `json:"exec,omitempty"`
	// +optional
	HTTPGet *HTTPGetAction `json:"httpGet,omitempty"`
	// +optional
	TCPSocket *TCPSocketAction `json:"tcpSocket,omitempty"`
	// +optional
	GRPC *GRPCAction `json:"grpc,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +optional
	InitialDelaySeconds int32 `json:"initialDelaySeconds,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +optional
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
	// PeriodSeconds of 0 leaves it to the platform, which asks often.
	// +kubebuilder:validation:Minimum=0
	// +optional
	PeriodSeconds int32 `json:"periodSeconds,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +optional
	SuccessThreshold int32 `json:"successThreshold,omitempty"`
	// +kubebuilder:validation:Minimum=0
	// +optional
	FailureThreshold int32 `json:"failureThreshold,omitempty"`
}

// HTTPGetAction is well when it is answered with a status from 200 to 399.
type HTTPGetAction struct {
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Path string `json:"path,omitempty"`
	// +optional
	Port intstr.IntOrString `json:"port,omitempty"`
	// +kubebuilder:validation:Enum="";HTTP;HTTPS
	// +optional
	Scheme corev1.URIScheme `json:"scheme,omitempty"`
	// +optional
	HTTPHeaders []corev1.HTTPHeader `json:"httpHeaders,omitempty"`
}

// TCPSocketAction is well when a connection can be made.
type TCPSocketAction struct {
	// +optional
	Port intstr.IntOrString `json:"port,omitempty"`
}

// GRPCAction asks gRPC's health service.
type GRPCAction struct {
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port int32 `json:"port,omitempty"`
	// +optional
	Service *string `json:"service,omitempty"`
}

// Core is the probe as a pod has it, with port where it names none; nil where
// it asks nothing, because every container that has a port is asked anyway.
func (p *Probe) Core(port int32) *corev1.Probe {
	if p == nil || p.Exec == nil && p.HTTPGet == nil && p.TCPSocket == nil && p.GRPC == nil {
		return nil
	}
	core := &corev1.Probe{
		ProbeHandler:        corev1.ProbeHandler{Exec: p.Exec},
		InitialDelaySeconds: p.InitialDelaySeconds,
		TimeoutSeconds:      p.TimeoutSeconds,
		PeriodSeconds:       p.PeriodSeconds,
		SuccessThreshold:    p.SuccessThreshold,
		FailureThreshold:    p.FailureThreshold,
	}
	if core.PeriodSeconds == 0 {
		core.PeriodSeconds = 1 // the kubelet's shortest
	}
	switch {
	case p.HTTPGet != nil:
		core.HTTPGet = &corev1.HTTPGetAction{Path: p.HTTPGet.Path, Port: portOr(p.HTTPGet.Port, port), Scheme: p.HTTPGet.Scheme, HTTPHeaders: p.HTTPGet.HTTPHeaders}
	case p.TCPSocket != nil:
		core.TCPSocket = &corev1.TCPSocketAction{Port: portOr(p.TCPSocket.Port, port)}
	case p.GRPC != nil:
		core.GRPC = &corev1.GRPCAction{Port: p.GRPC.Port, Service: p.GRPC.Service}
		if core.GRPC.Port == 0 {
			core.GRPC.Port = port
		}
	}
	return core
}

// portOr resolves a probe's port. A name can only be that of the one port that
// a revision has.
func portOr(own intstr.IntOrString, port int32) intstr.IntOrString {
	if own.Type == intstr.Int && own.IntVal > 0 {
		return own
	}
	return intstr.FromInt32(port)
}
