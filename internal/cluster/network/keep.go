package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	"redoubt.dev/redoubt/internal/nft"
)

const (
	// settle is how long after a change of the host's rules they are looked at:
	// a firewall that starts anew makes many changes.
	settle = 100 * time.Millisecond
	// unnoticed is how long a change lasts at most of which the kernel tells
	// nobody: those of the older iptables.
	unnoticed = 30 * time.Second
	// rulesGroup has the kernel's messages of changes to nftables
	// (NFNLGRP_NFTABLES in linux/netfilter/nfnetlink.h).
	rulesGroup = 7
)

// Keep puts the host's rules of an instance back whenever somebody else takes them
// away, until ctx ends: a firewall that starts anew removes all rules of the
// machine, and the instance's pods would reach what listens on the host.
func Keep(ctx context.Context, id string, link Link) error {
	changes, err := watchRules(ctx)
	if err != nil {
		return fmt.Errorf("watch the host's firewall: %w", err)
	}
	wanted, err := listed(ctx, id, link)
	if err != nil {
		if ctx.Err() != nil {
			return nil // it is told to end already
		}
		return err
	}
	tick := time.NewTicker(unnoticed)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-changes:
			select {
			case <-time.After(settle):
			case <-ctx.Done():
				return nil
			}
		}
		if err := restore(ctx, id, link, wanted); err != nil && ctx.Err() == nil {
			slog.Error("the host's rules for this instance are not whole", "error", err)
		}
	}
}

// restore compares the host's rules with what they were, and sets them if they
// are others.
func restore(ctx context.Context, id string, link Link, wanted string) error {
	var err error
	if nft.List(ctx, id) != wanted && ctx.Err() == nil {
		slog.Warn("somebody changed the host's rules for this instance; they are put back", "table", id)
		err = nft.Apply(ctx, hostRules(id, link))
	}
	return errors.Join(err, letThrough(ctx, hostLinkName(id)))
}

// listed sets the host's rules and returns them as the kernel lists them. Somebody
// may change them between the two, but hardly in the same way twice.
func listed(ctx context.Context, id string, link Link) (string, error) {
	for former := ""; ; {
		if err := nft.Apply(ctx, hostRules(id, link)); err != nil {
			return "", err
		}
		rules := nft.List(ctx, id)
		if rules == former {
			return rules, nil
		}
		former = rules
	}
}

// watchRules says when rules of the calling thread's network namespace have
// changed, of whatever table. Many changes may be one.
func watchRules(ctx context.Context) (<-chan struct{}, error) {
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER, rulesGroup)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, socket.Close)
	changes := make(chan struct{}, 1)
	go func() {
		for {
			// More changes than the socket holds are an error, and changes too.
			if _, _, err := socket.Receive(); errors.Is(err, os.ErrClosed) {
				return
			}
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	}()
	return changes, nil
}
