// Package async takes requests that their clients do not want to wait for (RFC
// 7240, respond-async): it stores each as an Invocation, which the controllers
// carry out, and later hands out what became of it.
//
// Who may ask for a result is who knows its name, which cannot be guessed.
// Requests are stored for functions alone whose owners want it, and at most so
// many a second of each namespace: they come from strangers, and the API is
// everybody's.
package async

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	redoubt "redoubt.dev/redoubt/api/redoubt/v1"
)

const (
	// Prefix begins the paths of results, below that of the function.
	Prefix = "/_redoubt/invocations/"
	// perSecond and burst are how many requests of a namespace are stored.
	perSecond = 20
	burst     = 100
	// patience bounds a question to the API server, and slowest the sending of
	// a body.
	patience = 10 * time.Second
	slowest  = time.Minute
	// maxType bounds a media type, in bytes.
	maxType = 256
)

// Store is where invocations are kept.
type Store interface {
	Create(ctx context.Context, i *redoubt.Invocation) error
	Get(ctx context.Context, name types.NamespacedName) (*redoubt.Invocation, error)
}

// NewStore keeps them in the cluster of cfg.
func NewStore(cfg *rest.Config) (Store, error) {
	scheme := runtime.NewScheme()
	if err := redoubt.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	return api{c}, err
}

type api struct{ client client.Client }

func (a api) Create(ctx context.Context, i *redoubt.Invocation) error { return a.client.Create(ctx, i) }

func (a api) Get(ctx context.Context, name types.NamespacedName) (*redoubt.Invocation, error) {
	i := &redoubt.Invocation{}
	return i, a.client.Get(ctx, name, i)
}

// Wants says whether a request, by its method and its path below the
// function's, is for this package: by its header Prefer, or as one for a
// result.
func Wants(method, path string, prefer []string) bool {
	if method == http.MethodGet && strings.HasPrefix(path, Prefix) {
		return true
	}
	if method != http.MethodPost {
		return false
	}
	for _, value := range prefer {
		for _, preference := range strings.Split(value, ",") {
			name, _, _ := strings.Cut(preference, ";")
			if strings.EqualFold(strings.TrimSpace(name), "respond-async") {
				return true
			}
		}
	}
	return false
}

// Handler answers the requests that Wants.
type Handler struct {
	store Store

	mu     sync.Mutex
	limits map[string]*rate.Limiter // guarded by mu; by namespace
}

// New returns a handler.
func New(store Store) *Handler { return &Handler{store: store, limits: map[string]*rate.Limiter{}} }

// Serve answers a request for a function. Below says where the function's
// paths begin, as the client sees them.
func (h *Handler) Serve(w http.ResponseWriter, req *http.Request, function types.NamespacedName, below string) {
	if req.Method == http.MethodGet {
		_, id, _ := strings.Cut(req.URL.Path, Prefix)
		h.result(w, req, function, id)
		return
	}
	h.accept(w, req, function, below)
}

func (h *Handler) allows(namespace string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.limits[namespace]
	if l == nil {
		l = rate.NewLimiter(perSecond, burst)
		h.limits[namespace] = l
	}
	return l.Allow()
}

// accept stores a request.
func (h *Handler) accept(w http.ResponseWriter, req *http.Request, function types.NamespacedName, below string) {
	if !h.allows(function.Namespace) {
		refuse(w, http.StatusTooManyRequests, "too many requests of this namespace are to be answered later; try again later")
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(slowest))
	data, err := io.ReadAll(io.LimitReader(req.Body, redoubt.MaxInvocationData+1))
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	switch kind := req.Header.Get("Content-Type"); {
	case err != nil:
		refuse(w, http.StatusBadRequest, "the request's body ended early, or took too long")
		return
	case len(data) > redoubt.MaxInvocationData:
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a request that is to be answered later has at most %d bytes", redoubt.MaxInvocationData))
		return
	case len(kind) > maxType || strings.ContainsFunc(kind, func(r rune) bool { return r < 0x20 || r > 0x7e }):
		refuse(w, http.StatusBadRequest, "the Content-Type is none")
		return
	}
	i := &redoubt.Invocation{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: function.Namespace, Name: function.Name + "-" + strings.ToLower(rand.Text()),
			Labels: map[string]string{redoubt.ByGatewayLabel: "true"},
		},
		Spec: redoubt.InvocationSpec{Function: function.Name, ContentType: req.Header.Get("Content-Type"), Data: data},
	}
	ctx, cancel := context.WithTimeout(req.Context(), patience)
	defer cancel()
	switch err := h.store.Create(ctx, i); {
	case apierrors.IsForbidden(err): // a quota
		refuse(w, http.StatusTooManyRequests, "no further request of this namespace can be answered later; try again later")
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, "the request cannot be stored; try again later")
	default:
		w.Header().Set("Location", below+Prefix+i.Name)
		w.Header().Set("Preference-Applied", "respond-async")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_ = json.NewEncoder(w).Encode(map[string]string{"id": i.Name})
	}
}

var named = regexp.MustCompile(`^[a-z0-9-]{1,90}$`)

// result hands out what became of a request. Only what came this way can be
// had this way.
func (h *Handler) result(w http.ResponseWriter, req *http.Request, function types.NamespacedName, id string) {
	ctx, cancel := context.WithTimeout(req.Context(), patience)
	defer cancel()
	var i *redoubt.Invocation
	err := error(apierrors.NewNotFound(redoubt.GroupVersion.WithResource("invocations").GroupResource(), id))
	if named.MatchString(id) {
		i, err = h.store.Get(ctx, types.NamespacedName{Namespace: function.Namespace, Name: id})
	}
	switch {
	case apierrors.IsNotFound(err), err == nil && (i.Labels[redoubt.ByGatewayLabel] == "" || i.Spec.Function != function.Name):
		refuse(w, http.StatusNotFound, "there is no such result: its time is over, or it never was")
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, "the result cannot be read; try again later")
	case !i.Status.Finished():
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusAccepted, "there is no result yet")
	case i.Status.Phase == redoubt.InvocationFailed:
		refuse(w, http.StatusBadGateway, fmt.Sprintf("the function failed: %s", i.Status.Reason))
	default:
		w.Header().Set("Content-Type", i.Status.ContentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(i.Status.Answer)))
		w.WriteHeader(status(int(i.Status.Code)))
		_, _ = w.Write(i.Status.Answer)
	}
}

// status is one that an answer with a body can have.
func status(code int) int {
	if code < 200 || code > 299 || code == http.StatusNoContent {
		return http.StatusOK
	}
	return code
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, message+"\n")
}
