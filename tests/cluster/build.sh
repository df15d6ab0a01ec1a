#!/usr/bin/env bash
# Builds the cluster program, unless one of the same sources is there already, and prints its path as the last line of
# standard output. Progress goes to standard error.
#
# The program lands outside the source tree, in ${XDG_CACHE_HOME:-~/.cache}/revoiceit-operator/cluster-<hash>/, where it
# is shared by all checkouts. Two builds at once are safe: the second waits for the first and then finds its work done.
#
# With CLUSTER_VERSION, such as v1.33.13, it is Kubernetes of that version in place of the one in go.mod, with the modules that
# belong to it. Which they are is found out anew, so that nothing here pins them: for tests by hand.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

say() { printf 'cluster: %s\n' "$*" >&2; }

command -v go >/dev/null || { say "Go is needed to build the cluster program; see 'go' in go.mod for the version"; exit 1; }

# No C compiler is needed, and the binary is the same with and without one.
export CGO_ENABLED=0

other=${CLUSTER_VERSION:-}
hash=$(cat -- go.mod go.sum ./*.go build.sh <(go version) <(printf '%s' "$other") | sha256sum | cut -c 1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/revoiceit-operator
folder=$cache/cluster-$hash
binary=$folder/cluster
if [ -x "$binary" ]; then
    echo "$binary"
    exit 0
fi

mkdir -p -- "$cache"
exec 9>"$cache/cluster-$hash.lock"
if ! flock --nonblock 9; then
    say "another build of the same sources is under way, waiting for it"
    flock 9
fi
if [ -x "$binary" ]; then
    echo "$binary"
    exit 0
fi

# Whatever a build that was killed has left; while we hold the lock there is no other.
rm -rf -- "$cache/cluster-$hash".??????
say "building Kubernetes into $folder: once, about eight minutes on two cores when Go's caches are empty"
work=$(mktemp -d -- "$cache/cluster-$hash.XXXXXX")
build=
cleanup() {
    [ -z "$build" ] || kill "$build" 2>/dev/null || true
    rm -rf -- "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Kubernetes asks for the modules that it is made of at v0.0.0; they are released beside it as v0.MINOR.PATCH, but for the samples.
if [ -n "$other" ]; then
    say "looking for the modules of Kubernetes $other"
    mkdir -- "$work/source"
    cp -- ./*.go "$work/source"
    own=$(go mod download -json "k8s.io/kubernetes@$other" | awk -F '"' '$2 == "GoMod" { print $4 }')
    awk -v version="$other" '
        BEGIN { print "module cluster"; print "go 1.26.0"; print "require k8s.io/kubernetes " version; sub("^v1", "v0", version) }
        $1 ~ "^k8s.io/" && $1 !~ "/sample-" && $2 == "v0.0.0" { print "require", $1, version }
    ' "$own" >"$work/source/go.mod"
    cd -- "$work/source"
    go mod tidy >"$work/log" 2>&1 || { tail -n 20 -- "$work/log" >&2; exit 1; }
fi

# kubectl refuses a server whose version it cannot parse, and without these both would be "v0.0.0-master".
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${version#v1.}
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    ldflags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
done

SECONDS=0
go build -v -trimpath -buildvcs=false -ldflags "$ldflags" -o "$work/cluster" . 2>"$work/log" 9>&- &
build=$!

# `go build -v` prints a line for each module it downloads and for each package it compiles. How many packages there
# are is known once all modules are there; those that Go has in its cache are not printed.
total=
ticks=0
while kill -0 "$build" 2>/dev/null; do
    sleep 1
    ticks=$((ticks + 1))
    [ $((ticks % 10)) -eq 0 ] || continue
    downloads=$(grep -c '^go: downloading' "$work/log" || true)
    compiled=$(grep -vc '^go: ' "$work/log" || true)
    if [ "$compiled" -eq 0 ]; then
        say "${SECONDS} s: $downloads modules downloaded"
        continue
    fi
    [ -n "$total" ] || total=$(go list -deps . 2>/dev/null | wc -l) || total="?"
    say "${SECONDS} s: $compiled of at most $total packages compiled"
done
if ! wait "$build"; then
    build=
    say "the build failed after ${SECONDS} s:"
    grep -v '^go: downloading' "$work/log" | grep -E ' |^#' | tail -n 40 >&2 || tail -n 40 -- "$work/log" >&2
    exit 1
fi
build=

mkdir -p -- "$folder"
mv -- "$work/cluster" "$binary"
say "built in ${SECONDS} s"
echo "$binary"
