package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"redoubt.dev/redoubt/internal/cluster/relay"
	"redoubt.dev/redoubt/internal/cluster/supervise"
	"redoubt.dev/redoubt/internal/instance"
)

// The supervisor answers three requests at a socket that only root can reach:
//
//	GET  /processes      the supervised processes, as JSON
//	POST /certificates   make them anew; answered when every component has its own
//	POST /stop           end the instance; answered at once
func controlSocket(inst instance.Instance) string { return inst.Run("control.sock") }

func (b *boot) serveControl(ctx context.Context, stop context.CancelFunc) error {
	path := controlSocket(b.inst)
	_ = os.Remove(path) // a killed supervisor leaves it; the lock says that none runs
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /processes", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(b.supervisor.Status())
	})
	mux.HandleFunc("POST /certificates", func(w http.ResponseWriter, _ *http.Request) {
		if err := b.rotate(ctx, true); err != nil { // whether or not somebody waits
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		stop()
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	b.background.add(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	return nil
}

// relayAPI carries the host's API port to the API server.
func (b *boot) relayAPI(ctx context.Context) error {
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(apiServerPort))
	return relay.Serve(ctx, b.api, func(ctx context.Context) (net.Conn, error) {
		return b.dialInside(ctx, "tcp", address)
	})
}

// Processes asks a running instance for the state of its processes. The error
// is instance.ErrNotRunning when there is no supervisor.
func Processes(ctx context.Context, inst instance.Instance) ([]supervise.Status, error) {
	resp, err := control(ctx, inst, http.MethodGet, "/processes")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var all []supervise.Status
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return nil, fmt.Errorf("read the supervisor's answer: %w", err)
	}
	return all, nil
}

func control(ctx context.Context, inst instance.Instance, method, path string) (*http.Response, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", controlSocket(inst))
		},
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("ask instance %q: %w", inst.Name, ctx.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("instance %q is %w (%w); start it with: redoubt up --name %s", inst.Name, instance.ErrNotRunning, err, inst.Name)
	}
	return resp, nil
}
