package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"redoubt.dev/redoubt/internal/cluster/supervise"
	"redoubt.dev/redoubt/internal/instance"
)

func newLogs(a *app) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs COMPONENT",
		Short: "Print the log of a component, such as kubelet or gateway",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inst, err := a.instance()
			if err != nil {
				return usage(err)
			}
			return printLog(cmd.Context(), cmd.OutOrStdout(), inst, args[0], follow)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			inst, err := a.instance()
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return logNames(inst), cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing what is added, until Ctrl-C")
	return cmd
}

func printLog(ctx context.Context, out io.Writer, inst instance.Instance, name string, follow bool) error {
	path := supervise.LogFile(inst.LogDir(), filepath.Base(name))
	f, err := os.Open(path)
	if names := logNames(inst); errors.Is(err, fs.ErrNotExist) && len(names) == 0 {
		return fmt.Errorf("instance %q has no logs; boot it with: redoubt up%s", inst.Name, nameFlag(inst))
	} else if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no log of %q; there are: %s", name, strings.Join(names, ", "))
	}
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	for {
		if _, err := io.Copy(out, f); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
		if next := rotated(path, f); next != nil {
			_, err := io.Copy(out, f) // what was added last
			f.Close()
			if f = next; err != nil {
				return err
			}
		}
	}
}

// rotated opens path again when it is no longer the file that f reads.
func rotated(path string, f *os.File) *os.File {
	now, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if old, err := f.Stat(); err != nil || os.SameFile(now, old) {
		return nil
	}
	next, err := os.Open(path)
	if err != nil {
		return nil
	}
	return next
}

func logNames(inst instance.Instance) []string {
	files, _ := filepath.Glob(inst.Data("logs", "*.log"))
	names := make([]string, 0, len(files))
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".log")
		if !strings.Contains(name, "-20") { // rotated files carry their date
			names = append(names, name)
		}
	}
	return names
}
