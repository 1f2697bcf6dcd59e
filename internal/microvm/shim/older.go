package shim

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

// StartedByOlder says whether a containerd before 2.3 wants the shim to start a
// pod's: later ones write what they want to its input.
func StartedByOlder() bool {
	in, err := os.Stdin.Stat()
	return os.Args[len(os.Args)-1] == "start" && err == nil && in.Mode()&os.ModeCharDevice != 0
}

// StartForOlder starts it. What such a containerd wants stands in the arguments,
// and it reads the answer as JSON.
func StartForOlder(ctx context.Context, args []string, answer io.Writer) error {
	params, err := parseArguments(args)
	if err != nil {
		return err
	}
	result, err := Manager{}.Start(namespaces.WithNamespace(ctx, params.Namespace), params)
	if err != nil {
		return err
	}
	return json.NewEncoder(answer).Encode(struct {
		Version  int32  `json:"version"`
		Address  string `json:"address"`
		Protocol string `json:"protocol"`
	}{result.Version, result.Address, result.Protocol})
}

func parseArguments(args []string) (*bootapi.BootstrapParams, error) {
	var params bootapi.BootstrapParams
	flags := flag.NewFlagSet(Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&params.InstanceID, "id", "", "")
	flags.StringVar(&params.Namespace, "namespace", "", "")
	flags.StringVar(&params.ContainerdGrpcAddress, "address", "", "")
	flags.StringVar(&params.ContainerdBinary, "publish-binary", "", "")
	_ = flags.String("bundle", "", "") // the working folder
	debug := flags.Bool("debug", false, "")
	if err := flags.Parse(args); err != nil {
		return nil, fmt.Errorf("containerd's arguments: %w", err)
	}
	for name, value := range map[string]string{"id": params.InstanceID, "namespace": params.Namespace, "address": params.ContainerdGrpcAddress} {
		if value == "" {
			return nil, fmt.Errorf("containerd's arguments: -%s is missing", name)
		}
	}
	if *debug {
		params.LogLevel = bootapi.LogLevel_LOG_LEVEL_DEBUG
	}
	return &params, nil
}
