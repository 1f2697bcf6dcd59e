package doctor

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/cluster/cgroup"
	"redoubt.dev/redoubt/internal/cluster/idmap"
	"redoubt.dev/redoubt/internal/thread"
)

// patience is how long one program that is tried may take.
const patience = 10 * time.Second

// try finds out what the kernel does, not what its configuration says: a
// feature may be a module that cannot be loaded, or be forbidden to this
// process. Everything is made in namespaces that go with the thread that made
// them.
func try(ctx context.Context, dataDir string) map[Feature]error {
	return map[Feature]error{
		Overlay: onFreshThread(func() error { return tryOverlay(dataDir) }),
		Links:   onFreshThread(tryLinks),
		Rules:   onFreshThread(func() error { return tryRules(ctx) }),
		Tap:     onFreshThread(tryTap),
		Users:   tryUsers(dataDir),
		Groups:  tryGroups(),
	}
}

// onFreshThread runs f on a thread that is thrown away afterwards, because f
// changes what the thread belongs to.
func onFreshThread(f func() error) error {
	done := make(chan error)
	thread.Go(func() { done <- f() })
	return <-done
}

// tryOverlay mounts one in the file system of dataDir: an overlay cannot have
// every file system below it, least of all another overlay.
func tryOverlay(dataDir string) (err error) {
	dir, err := os.MkdirTemp(dataDir, ".redoubt-doctor-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make mount namespace: %w", err)
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	merged := filepath.Join(dir, "merged")
	options := fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", dir, dir, dir)
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount an overlay in %s: %w", dataDir, err)
	}
	return unix.Unmount(merged, 0)
}

func newNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	return nil
}

func tryLinks() error {
	if err := newNetwork(); err != nil {
		return err
	}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a"}, PeerName: "b"}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add a pair of links: %w", err)
	}
	return nil
}

// rules has one of each kind that instances and kube-proxy load.
//
//go:embed rules.nft
var rules string

func tryRules(ctx context.Context) error {
	if err := newNetwork(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		return fmt.Errorf("nft: %w %s", err, first)
	}
	return nil
}

func tryTap() error {
	if err := newNetwork(); err != nil {
		return err
	}
	tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "a"}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_DEFAULTS}
	if err := netlink.LinkAdd(tap); err != nil {
		return fmt.Errorf("add a tap device: %w", err)
	}
	return nil
}

// tryUsers makes a namespace and shows files to it as containers need them.
func tryUsers(dataDir string) (err error) {
	dir, err := os.MkdirTemp(dataDir, ".redoubt-doctor-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return idmap.Try(dir)
}

func tryGroups() error {
	tree, err := cgroup.New(fmt.Sprintf("redoubt-doctor-%d", os.Getpid()))
	if err != nil {
		return err
	}
	if err := tree.Create(""); err != nil {
		return errors.Join(err, tree.Remove())
	}
	return tree.Remove()
}
