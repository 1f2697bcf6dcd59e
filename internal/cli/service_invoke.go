package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	serving "redoubt.dev/redoubt/api/serving/v1"
)

// requestFlags are an HTTP request as the command line describes it.
type requestFlags struct {
	data, method, path string
	headers            []string
	timeout            time.Duration
}

func (r *requestFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&r.data, "data", "d", "", "body of the request; @FILE reads it from a file, @- from the standard input")
	flags.StringVarP(&r.method, "method", "X", "", "method (default GET, or POST with --data)")
	flags.StringVar(&r.path, "path", "/", "path and query")
	flags.StringArrayVarP(&r.headers, "header", "H", nil, "header, NAME: VALUE")
	flags.DurationVar(&r.timeout, "timeout", 10*time.Minute, "time to wait for the answer")
}

func newServiceInvoke(a *app) *cobra.Command {
	f := &clusterFlags{app: a}
	r := &requestFlags{}
	cmd := &cobra.Command{
		Use:   "invoke NAME",
		Short: "Send a request to a service and print the answer",
		Args:  oneName("service"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(cmd)
			if err != nil {
				return err
			}
			var svc serving.Service
			if err := c.Get(cmd.Context(), c.key(args[0]), &svc); err != nil {
				return err
			}
			if svc.Status.URL == "" {
				return fmt.Errorf("service '%s' has no URL yet; wait for it with: redoubt service wait %s", svc.Name, svc.Name)
			}
			body, err := r.body(cmd)
			if err != nil {
				return err
			}
			return r.send(cmd, svc.Status.URL, body)
		},
		ValidArgsFunction: complete(f, services),
	}
	f.register(cmd, false)
	r.register(cmd)
	return cmd
}

// send makes the request and copies the answer's body to the standard output.
// An answer of 400 or more is an error.
func (r *requestFlags) send(cmd *cobra.Command, base string, body io.Reader) error {
	req, err := r.request(cmd, base, body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), r.timeout)
	defer cancel()
	resp, err := localClient().Do(req.WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(cmd.OutOrStdout(), resp.Body); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s was answered with %s", req.Method, req.URL, resp.Status)
	}
	return nil
}

func (r *requestFlags) request(cmd *cobra.Command, base string, body io.Reader) (*http.Request, error) {
	method := r.method
	if method == "" {
		method = http.MethodGet
		if cmd.Flags().Changed("data") {
			method = http.MethodPost
		}
	}
	target, err := url.Parse(strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(r.path, "/"))
	if err != nil {
		return nil, usage(fmt.Errorf("--path %q: %w", r.path, err))
	}
	req, err := http.NewRequest(method, target.String(), body)
	if err != nil {
		return nil, usage(err)
	}
	for _, header := range r.headers {
		name, value, ok := strings.Cut(header, ":")
		if !ok {
			return nil, usage(fmt.Errorf("--header %q is not NAME: VALUE", header))
		}
		req.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return req, nil
}

func (r *requestFlags) body(cmd *cobra.Command) (io.Reader, error) {
	file, isFile := strings.CutPrefix(r.data, "@")
	switch {
	case !cmd.Flags().Changed("data"):
		return nil, nil
	case !isFile:
		return strings.NewReader(r.data), nil
	case file == "-":
		return cmd.InOrStdin(), nil
	case file == "":
		return nil, usage(errors.New("--data @ names no file"))
	}
	return os.Open(file)
}

// content is the whole body, or the first bytes of one that is longer than most.
func (r *requestFlags) content(cmd *cobra.Command, most int64) ([]byte, error) {
	body, err := r.body(cmd)
	if err != nil || body == nil {
		return nil, err
	}
	if file, ok := body.(*os.File); ok && file != cmd.InOrStdin() {
		defer file.Close()
	}
	data, err := io.ReadAll(io.LimitReader(body, most))
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	return data, nil
}

// localClient finds *.localhost on this machine, as curl and browsers do
// (RFC 6761, section 6.3); other names are the resolver's.
func localClient() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err == nil && strings.HasSuffix(host, ".localhost") {
				address = net.JoinHostPort("127.0.0.1", port)
			}
			return dialer.DialContext(ctx, network, address)
		},
	}}
}
