#!/usr/bin/env bash
# Makes the image of a program without Docker, unless one of the same sources is there already, and prints the path of its
# archive (OCI) as the last line of standard output. Progress goes to standard error.
#
#   deploy/image/build.sh                      # revoiceit-operator
#   deploy/image/build.sh revoiceit-sandbox
#
# The program's stage of the Dockerfile is built by buildah, with what compile.sh lays out here in place of the stage before. It
# lands outside of the source tree, in ${XDG_CACHE_HOME:-~/.cache}/revoiceit-operator/image-<hash>/, under the rules of
# tests/cluster/build.sh: shared by all checkouts, and two builds at once are safe.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

say() { printf 'image: %s\n' "$*" >&2; }

command -v buildah >/dev/null || { say "buildah is needed to build the image: make deps installs it"; exit 1; }

program=${1:-revoiceit-operator}
case $program in
revoiceit-operator) folders=(src) ;;
revoiceit-sandbox) folders=(sandbox/src sandbox/Cargo.toml) ;;
*) say "no image of $program"; exit 2 ;;
esac

sources=(Cargo.toml Cargo.lock Dockerfile deploy/image/*.sh)
hash=$({ echo "$program"; cat -- "${sources[@]}"; find "${folders[@]}" -type f -print0 | LC_ALL=C sort --zero-terminated | xargs --null sha256sum; rustc --version; } | sha256sum | cut -c 1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/revoiceit-operator
folder=$cache/image-$hash
archive=$folder/image.tar
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}

mkdir -p -- "$cache"
exec 9>"$cache/image-$hash.lock"
if ! flock --nonblock 9; then
    say "another build of the same sources is under way, waiting for it"
    flock 9
fi
if [ -f "$archive" ]; then
    echo "$archive"
    exit 0
fi

# Whatever a build that was killed has left; while we hold the lock there is no other.
rm -rf -- "$cache/image-$hash".??????
work=$(mktemp -d -- "$cache/image-$hash.XXXXXX")
trap 'rm -rf -- "$work"' EXIT

say "building $program into $folder: an optimised program takes some minutes"
.ci/checkout
deploy/image/compile.sh "$program" "$work/build/image" >&2 9>&-

size=$(du --bytes --summarize "$work/build/image" | cut -f 1)
[ "$size" -le 15000000 ] || { say "$size bytes are in the image, more than the 15 MB that are promised"; exit 1; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=$program:$version
# A store of its own: nothing of the machine's is used or left.
storage=(--storage-driver vfs --root "$work/storage" --runroot "$work/run")
buildah "${storage[@]}" bud --quiet --isolation chroot --target "$program" \
    --build-context build-"$program"="$work/build" --timestamp "${SOURCE_DATE_EPOCH:-0}" --build-arg VERSION="$version" --tag "$name" . >/dev/null 9>&-
buildah "${storage[@]}" push --quiet "$name" "oci-archive:$work/image.tar:docker.io/library/$name" >&2 9>&-

mkdir -p -- "$folder"
mv -- "$work/build/image/$program" "$folder/$program"
mv -- "$work/image.tar" "$archive"
say "$name: program $(stat -c %s "$folder/$program") bytes, $(sha256sum "$folder/$program" | cut -c 1-16); archive $(stat -c %s "$archive") bytes"
echo "$archive"
