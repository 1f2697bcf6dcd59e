#!/bin/sh
# Makes what a microVM boots, in bin/guest: vmlinuz, Debian's kernel for virtual
# machines as Debian built it, initramfs, this project's agent with the kernel
# modules that it needs, and rehearsal.erofs, what spare machines try it with.
#
# The kernel is whatever version Debian 12 serves for the package below: from where
# apt has it on Debian 12, elsewhere from Debian's archive, so that every system
# has the guest that is tested. Its package is fetched and unpacked, not
# installed, and stays in $REDOUBT_CACHE/guest/PACKAGE_VERSION (default
# ~/.cache/redoubt): a later build reads it there, and needs no network.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${REDOUBT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/redoubt}/guest
out=$root/bin/guest
meta=linux-image-cloud-amd64

# ask_debian has apt read Debian's archive, with lists of its own and Debian's keys.
ask_debian() {
	mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
	keys=/usr/share/keyrings/debian-archive-keyring.gpg
	cat >"$cache/apt/sources.list" <<-END
		deb [signed-by=$keys] http://deb.debian.org/debian bookworm main
		deb [signed-by=$keys] http://deb.debian.org/debian-security bookworm-security main
	END
	cat >"$cache/apt/apt.conf" <<-END
		Dir::Etc::SourceList "$cache/apt/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::State::Lists "$cache/apt/lists";
		Dir::Cache "$cache/apt";
		APT::Sandbox::User "root";
	END
	export APT_CONFIG="$cache/apt/apt.conf"
}

# newest prints the kernel package that Debian serves now, as PACKAGE VERSION.
newest() {
	package=$(apt-cache depends --important "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$package" ] || return 1
	version=$(apt-cache policy "$package" | sed -n 's/^ *Candidate: //p')
	echo "$package ${version#*:}"
}

# fetch PACKAGE DIR: unpacks what a guest needs of the package into DIR.
fetch() {
	tmp=$(mktemp -d "$cache/.kernel.XXXXXX")
	chmod 755 "$tmp"
	echo "fetching $1" >&2
	(cd "$tmp" && apt-get download -qq "$1" && dpkg-deb --fsys-tarfile ./*.deb |
		tar -x ./boot ./lib/modules) 2>"$tmp/log" || {
		cat "$tmp/log" >&2
		rm -rf "$tmp"
		echo "could not fetch the guest's kernel $1: see above; is Debian's archive reachable?" >&2
		exit 1
	}
	rm -f "$tmp"/*.deb "$tmp/log"
	mv -T "$tmp" "$2" 2>/dev/null || rm -rf "$tmp" # another build was first
}

mkdir -p "$cache" "$out"
# One build at a time: none sees what another has half made.
exec 9>"$cache/.lock"
flock 9
grep -qx 'VERSION_CODENAME=bookworm' /etc/os-release || ask_debian
# Without the archive's lists, a kernel fetched earlier will do.
have=$(ls -d "$cache/linux-image-"* 2>/dev/null | sort -V | tail -n 1)
found=$(newest) || found=
if [ -z "$found$have" ]; then
	apt-get update -qq || true # what it cannot do it says, and so does the next question
	found=$(newest) || found=
fi
if [ -n "$found" ]; then
	kernel=$cache/$(echo "$found" | tr ' ' _)
	[ -d "$kernel" ] || fetch "${found% *}" "$kernel"
else
	kernel=$have
	[ -n "$kernel" ] || { echo "apt does not know $meta, the guest's kernel: run: apt-get update" >&2; exit 1; }
fi

cd "$root"
# As the Makefile builds everything.
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false -gcflags=all=-dwarf=false"
go build -ldflags "-s -w" -o bin/ ./cmd/redoubt-guest
go run ./guest/pack -kernel "$kernel" -init bin/redoubt-guest -out "$out"
# Without a library: it runs with whatever C library QEMU has.
gcc -Os -shared -fPIC -s -nostdlib -Wall -Wextra -Wl,--build-id=none -o "$out/memory.so.new" guest/memory.c
cmp -s "$out/memory.so.new" "$out/memory.so" && rm "$out/memory.so.new" || mv "$out/memory.so.new" "$out/memory.so"
