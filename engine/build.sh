#!/bin/sh
# Builds the upstream programs that Redoubt runs, unmodified, from their pinned
# Go modules, and links them into bin/engine.
#
#   engine/build.sh [PART...]      all parts when none is named
#
# A part is built once: the results stay in $REDOUBT_CACHE/engine/PART-KEY
# (default ~/.cache/redoubt), where KEY covers everything the result depends
# on: the part's own files with its go.mod and go.sum, this script and the Go
# version. Another clone with the same pins links the same files.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${REDOUBT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/redoubt}/engine
out=$root/bin/engine
started=$(date +%s)

# Debug information is stripped when linking, so the compiler need not make it;
# the same flags everywhere let the parts share compiled packages.
flags="-trimpath -buildvcs=false -gcflags=all=-dwarf=false"

say() { printf '%5ds  %s\n' $(($(date +%s) - started)) "$*" >&2; }

# version MODULE: the version that the current folder's go.mod pins.
version() { go list -m -f '{{.Version}}' "$1"; }

# build OUTPUT PACKAGE [LDFLAGS]: one static program, without cgo.
build() {
	CGO_ENABLED=0 go build $flags -ldflags "-s -w ${3:-}" -o "$dest/$1" "$2"
}

kubernetes() {
	v=$(version k8s.io/kubernetes)
	minor=${v#v1.}
	x=
	# Built from the module proxy, Kubernetes does not know its version, and
	# clients that parse it stop.
	for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		x="$x -X $p.gitVersion=$v -X $p.gitMajor=1 -X $p.gitMinor=${minor%%.*}"
		x="$x -X $p.gitTreeState=clean -X $p.gitCommit=unknown -X $p.buildDate=1970-01-01T00:00:00Z"
	done
	build kubernetes . "$x"
	for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl metrics-server; do
		ln -s kubernetes "$dest/$name"
	done
}

etcd() { build etcd go.etcd.io/etcd/server/v3; }

containerd() {
	pkg=github.com/containerd/containerd/v2
	x="-X $pkg/version.Version=$(version $pkg) -X $pkg/version.Package=$pkg"
	flags="$flags -tags=no_btrfs,no_zfs,no_devmapper,no_aufs"
	for name in containerd containerd-shim-runc-v2 ctr; do
		build $name $pkg/cmd/$name "$x"
	done
}

# runc needs cgo: its first stage is C, and seccomp filters come from libseccomp.
runc() {
	pkg=github.com/opencontainers/runc
	CGO_ENABLED=1 go build $flags -tags=seccomp,urfave_cli_no_docs \
		-ldflags "-s -w -X main.version=$(version $pkg | sed s/^v//)" -o "$dest/runc" $pkg
}

cni() {
	pkg=github.com/containernetworking/plugins
	x="-X $pkg/pkg/utils/buildversion.BuildVersion=$(version $pkg)"
	for plugin in main/ptp main/loopback ipam/host-local meta/portmap; do
		build cni/${plugin#*/} $pkg/plugins/$plugin "$x"
	done
}

coredns() { build coredns .; }

# runsc must be static: a dynamic executable cannot start itself again inside
# its empty root.
gvisor() {
	x="-X gvisor.dev/gvisor/runsc/version.version=$(version gvisor.dev/gvisor)"
	build runsc gvisor.dev/gvisor/runsc "$x"
	build containerd-shim-runsc-v1 ./shim "$x"
}

pause() {
	gcc -Os -static -s -nostdlib -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables \
		-Wl,--build-id=none -Wl,-z,noseparate-code -o "$dest/pause" pause.c
}

# key PART: what the part's result depends on, as 16 hexadecimal digits.
key() {
	{
		go env GOVERSION GOARCH
		cat "$root/engine/build.sh" # fetch is in another folder
		find "$root/engine/$1" -type f ! -name '*_test.go' | LC_ALL=C sort | while read -r f; do
			echo "${f#"$root"}"
			cat "$f"
		done
	} | sha256sum | cut -c1-16
}

# result PART: the folder of the part's result, which may not be there yet.
result() { echo "$cache/$1-$(key "$1")"; }

# fetch PART...: downloads the modules of those that are to be built. Only the
# build itself says what goes wrong.
fetch() {
	for name; do
		if [ -f "$root/engine/$name/go.mod" ] && [ ! -d "$(result "$name")" ]; then
			cd "$root/engine/$name"
			go list -deps tool ./... >/dev/null 2>&1 &
			trap "kill $!; exit" TERM
			wait $! || true
		fi
	done
}

# part NAME: builds NAME unless the cache has it, and links it into bin/engine.
part() {
	have=$(result "$1")
	if [ ! -d "$have" ]; then
		say "building $1"
		# Built beside its place and moved there whole, so that an interrupted
		# build leaves nothing that looks finished.
		dest=$(mktemp -d "$cache/.$1.XXXXXX")
		# In a condition, such as before ||, the shell would go on after what fails,
		# and only the part's last command would count.
		set +e
		(set -e; cd "$root/engine/$1"; "$1")
		status=$?
		set -e
		[ "$status" = 0 ] || { rm -rf "$dest"; say "building $1 failed"; exit 1; }
		chmod 755 "$dest"
		mv -T "$dest" "$have" 2>/dev/null || rm -rf "$dest" # another build was first
	fi
	(cd "$have" && find . -mindepth 1 -maxdepth 1) | while read -r f; do
		ln -sfn "$have/${f#./}" "$out/${f#./}"
	done
}

mkdir -p "$cache" "$out"
[ $# -gt 0 ] || set -- pause runc cni etcd containerd coredns gvisor kubernetes

# The network works for the later parts while the processors do for the first.
fetch "$@" &
fetching=$!
trap 'kill $fetching 2>/dev/null || true' EXIT

for name; do
	part "$name"
done
say "engine ready in bin/engine"
