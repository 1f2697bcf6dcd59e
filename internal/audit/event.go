package audit

import (
	"slices"
	"strings"
	"time"
)

// event is as much of an entry of the API server's log (audit.k8s.io/v1) as
// counts here.
type event struct {
	Stage      string    `json:"stage"`
	Time       time.Time `json:"requestReceivedTimestamp"`
	Verb       string    `json:"verb"`
	RequestURI string    `json:"requestURI"`
	User       identity  `json:"user"`
	As         *identity `json:"impersonatedUser"`
	SourceIPs  []string  `json:"sourceIPs"`
	Object     *object   `json:"objectRef"`
	Status     struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"responseStatus"`
	Annotations map[string]string `json:"annotations"`
}

type identity struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
}

type object struct {
	Resource    string `json:"resource"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	Group       string `json:"apiGroup"`
	Subresource string `json:"subresource"`
}

// parts are the platform's own, whose everyday work is no news: what they are
// not refused is not privileged.
var parts = []string{
	"redoubt:kube-apiserver", "redoubt:coredns", "redoubt:metrics-server", "redoubt:controller", "redoubt:gateway", "redoubt:node",
}

func (i *identity) isPart() bool {
	account, isAccount := strings.CutPrefix(i.Username, "system:serviceaccount:")
	if isAccount {
		return strings.HasPrefix(account, "kube-system:")
	}
	return slices.Contains(parts, i.Username) || strings.HasPrefix(i.Username, "system:") && i.Username != "system:anonymous"
}

// refused says whether a request was turned down for what it was or who made
// it. What a schema refuses is a mistake, not that.
func (e *event) refused() bool {
	switch e.Status.Code {
	case 401, 403:
		return true
	case 422:
		return strings.Contains(e.Status.Message, "ValidatingAdmissionPolicy")
	}
	return false
}

// reaching are subresources through which somebody gets into pods, past the
// API, or becomes somebody else.
var reaching = []string{"exec", "attach", "portforward", "proxy", "ephemeralcontainers", "token", "approval", "binding", "finalize"}

// bounding are kinds in namespaces that say what others may do there.
var bounding = []string{"namespaces", "resourcequotas", "limitranges", "roles", "rolebindings"}

// privileged says whether a request needed rights that few have: over other
// users, secrets, the inside of pods, or the cluster.
func (e *event) privileged() bool {
	switch {
	case e.User.isPart():
		return false
	case e.As != nil:
		return true
	case e.Object == nil:
		return false
	case e.Object.Resource == "secrets" && e.Object.Group == "", slices.Contains(reaching, e.Object.Subresource):
		return true
	case slices.Contains([]string{"get", "list", "watch"}, e.Verb):
		return false
	}
	return e.Object.Namespace == "" || slices.Contains(bounding, e.Object.Resource)
}
