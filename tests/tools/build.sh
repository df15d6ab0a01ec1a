#!/usr/bin/env bash
# Builds a tool that is a Go program, unless one of the same sources is there already, and prints its path as the last line
# of standard output. Progress goes to standard error.
#
#   tests/tools/build.sh helm
#
# tests/tools/NAME is a Go module of its own, which names the program as its `tool`. What is built lands where
# tests/cluster/build.sh puts what it builds, under the same rules: outside of the tree, shared by all checkouts, and two
# builds at once are safe.
set -euo pipefail

name=${1:?the name of a folder beside this script}
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/$name"

say() { printf '%s: %s\n' "$name" "$*" >&2; }

command -v go >/dev/null || { say "Go is needed to build $name; see 'go' in go.mod for the version"; exit 1; }

# No C compiler is needed, and the binary is the same with and without one.
export CGO_ENABLED=0

hash=$(cat -- go.mod go.sum ../build.sh <(go version) | sha256sum | cut -c 1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/revoiceit-operator
folder=$cache/$name-$hash
binary=$folder/$name
if [ -x "$binary" ]; then
    echo "$binary"
    exit 0
fi

mkdir -p -- "$cache"
exec 9>"$cache/$name-$hash.lock"
if ! flock --nonblock 9; then
    say "another build of the same sources is under way, waiting for it"
    flock 9
fi
if [ -x "$binary" ]; then
    echo "$binary"
    exit 0
fi

# Whatever a build that was killed has left; while we hold the lock there is no other.
rm -rf -- "$cache/$name-$hash".??????
say "building into $folder: once, some minutes when Go's caches are empty"
work=$(mktemp -d -- "$cache/$name-$hash.XXXXXX")
build=
cleanup() {
    [ -z "$build" ] || kill "$build" 2>/dev/null || true
    rm -rf -- "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

SECONDS=0
# -mod=readonly is the default; said here, no setting of the person's lets a build change go.mod. Into a folder, where Go
# names the program after its package.
mkdir -- "$work/bin"
go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w" -o "$work/bin/" tool 2>"$work/log" 9>&- &
build=$!
while kill -0 "$build" 2>/dev/null; do
    sleep 1
    [ $((SECONDS % 30)) -ne 0 ] || say "${SECONDS} s"
done
if ! wait "$build"; then
    build=
    say "the build failed after ${SECONDS} s:"
    grep -v '^go: downloading' "$work/log" | tail -n 40 >&2
    exit 1
fi
build=

mkdir -p -- "$folder"
mv -- "$work/bin/$name" "$binary"
say "built in ${SECONDS} s"
echo "$binary"
