package cli

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/clientcmd"

	"redoubt.dev/redoubt/internal/instance"
)

func newKubeconfig(a *app) *cobra.Command {
	var pathOnly bool
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the administrator's kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inst, err := a.booted()
			if err != nil {
				return err
			}
			if pathOnly {
				fmt.Fprintln(cmd.OutOrStdout(), inst.Kubeconfig())
				return nil
			}
			data, err := os.ReadFile(inst.Kubeconfig())
			if err != nil {
				return fmt.Errorf("read kubeconfig: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
	cmd.Flags().BoolVar(&pathOnly, "path", false, "print the file's path instead")
	return cmd
}

func newKubectl(a *app) *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl ...",
		Short:              "Run kubectl on the instance",
		DisableFlagParsing: true, // all flags are kubectl's
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.takeGlobalFlags(args)
			if err != nil {
				return usage(err)
			}
			inst, err := a.booted()
			if err != nil {
				return err
			}
			engine, err := instance.EngineDir()
			if err != nil {
				return err
			}
			// kubectl says only that it was refused, and some of what it does needs
			// no cluster.
			if err := refused(inst); err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), err)
			}
			path := filepath.Join(engine, "kubectl")
			env := withVariable(os.Environ(), "KUBECONFIG", inst.Kubeconfig())
			if err := unix.Exec(path, append([]string{"kubectl"}, args...), env); err != nil {
				return fmt.Errorf("run %s: %w", path, err)
			}
			return nil
		},
	}
}

// refused is the error of an instance at whose port nothing listens.
func refused(inst instance.Instance) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", inst.Kubeconfig())
	if err != nil {
		return nil // kubectl says what is wrong with the file
	}
	server, err := url.Parse(cfg.Host)
	if err != nil {
		return nil
	}
	conn, err := net.DialTimeout("tcp", server.Host, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	return hintDown(inst, err)
}

// withVariable sets a variable of an environment. It takes away what it was
// before: of two of the same name a program reads the first.
func withVariable(env []string, name, value string) []string {
	others := slices.DeleteFunc(slices.Clone(env), func(set string) bool { return strings.HasPrefix(set, name+"=") })
	return append(others, name+"="+value)
}

// takeGlobalFlags reads --name and --data-dir where they stand before
// kubectl's own arguments.
func (a *app) takeGlobalFlags(args []string) ([]string, error) {
	for len(args) > 0 {
		var target *string
		name, value, inline := strings.Cut(args[0], "=")
		switch name {
		case "--name":
			target = &a.name
		case "--data-dir":
			target = &a.dataDir
		default:
			return args, nil
		}
		args = args[1:]
		if !inline {
			if len(args) == 0 {
				return nil, fmt.Errorf("%s needs a value", name)
			}
			value, args = args[0], args[1:]
		}
		*target = value
	}
	return args, nil
}
