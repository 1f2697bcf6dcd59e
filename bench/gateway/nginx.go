package gateway

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/cluster/netns"
	"redoubt.dev/redoubt/internal/instance"
)

// configuration is that of a tuned reverse proxy: as many workers as
// processors, connections kept on both sides, an access log that is written in
// batches, as the gateway's is.
const configuration = `daemon off;
worker_processes auto;
pid {dir}/pid;
error_log {dir}/error.log;
events { worker_connections 4096; }
http {
	access_log {dir}/access.log combined buffer=32k flush=1s;
	keepalive_requests 1000000000;
	upstream instance { server {upstream}; keepalive 128; keepalive_requests 1000000000; }
	server {
		listen {listen};
		location / {
			proxy_pass http://instance;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header X-Forwarded-Proto $scheme;
		}
	}
}
`

// listen is inside the instance's network namespace, where nobody else is.
const listen = "127.0.0.1:8099"

type nginx struct {
	cmd     *exec.Cmd
	dir     string
	address string
}

// startNginx starts one in front of upstream, and waits until it answers.
func startNginx(ctx context.Context, inst instance.Instance, upstream string) (n *nginx, err error) {
	program := "/usr/sbin/nginx" // which users' PATH does not have
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%s is missing; install the Debian package nginx-light", program)
	}
	dir, err := os.MkdirTemp("", "redoubt-bench-nginx-*")
	if err != nil {
		return nil, err
	}
	n = &nginx{dir: dir, address: listen}
	defer func() {
		if err != nil {
			n.stop()
		}
	}()
	text := strings.NewReplacer("{dir}", dir, "{upstream}", upstream, "{listen}", listen).Replace(configuration)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	n.cmd = exec.Command(program, "-c", file)
	n.cmd.Stderr = os.Stderr
	if err := netns.Do(inst.NetNS(), n.cmd.Start); err != nil {
		n.cmd = nil
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	if err := reachable(ctx, inst.NetNS(), listen); err != nil {
		return nil, err
	}
	return n, joinEngine(inst, n.cmd.Process.Pid)
}

// joinEngine puts a process and its children into a control group beside the
// gateway's: where processors are short, the kernel gives each group its share.
func joinEngine(inst instance.Instance, pid int) error {
	const group = "engine/nginx"
	tree, err := cgroup.New(inst.ID())
	if err != nil {
		return err
	}
	if err := tree.Create(group); err != nil {
		return err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return fmt.Errorf("find nginx's workers: %w", err)
	}
	for _, text := range append(strings.Fields(string(children)), strconv.Itoa(pid)) {
		child, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if err := tree.Add(group, child); err != nil {
			return err
		}
	}
	return nil
}

// reachable waits until somebody listens.
func reachable(ctx context.Context, ns, address string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		c, err := netns.Dial(ctx, ns, "tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nobody listens on %s: %w", address, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (n *nginx) stop() {
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(os.Interrupt)
		_ = n.cmd.Wait()
	}
	_ = os.RemoveAll(n.dir)
}
