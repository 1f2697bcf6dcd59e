package demo

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

func podName(c class) string { return "busybox-" + c.Name }

// pods is the first act: the same pod in each class, and the kernel that it
// sees.
func (d *demo) pods(ctx context.Context) error {
	d.stage.title("1. A Pod chooses its sandbox: the talk's busybox")
	host, err := hostKernel()
	if err != nil {
		return err
	}
	for i := range d.classes {
		c := &d.classes[i]
		name := podName(*c)
		_, applied, err := d.stage.run(ctx, "kubectl", "apply", "-f", name+".yaml")
		if err != nil {
			return err
		}
		_, waited, err := d.stage.run(ctx, "kubectl", "wait", "--for=condition=Ready", "--timeout=60s", "pod/"+name)
		if err != nil {
			return err
		}
		if _, _, err := d.stage.run(ctx, "kubectl", "logs", name); err != nil {
			return err
		}
		if c.kernel, _, err = d.stage.run(ctx, "kubectl", "exec", name, "--", "uname", "-r"); err != nil {
			return err
		}
		d.results = append(d.results, result{workload: "pod", class: *c, cold: applied + waited})
		d.stage.note("%s: up in %s\n", c.Name, seconds(applied+waited))
	}
	d.stage.say("The kernel that each pod sees, beside the host's:\n")
	rows := [][]string{{"CLASS", "ISOLATION", "KERNEL INSIDE", "KERNEL OF THE HOST"}}
	for _, c := range d.classes {
		rows = append(rows, []string{c.Name, string(c.Isolation), c.kernel, host})
	}
	return d.stage.table(rows)
}

func hostKernel() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("ask the kernel for its release: %w", err)
	}
	return unix.ByteSliceToString(name.Release[:]), nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
