#!/usr/bin/env bash
# Makes the image that the tests' own pods run, from Debian's busybox, and prints the path of its archive (OCI) as the last
# line of standard output. It lands beside the operator's image, see deploy/image/build.sh. Takes a second, once.
set -euo pipefail
busybox=$(command -v busybox)
hash=$(cat -- "$busybox" "${BASH_SOURCE[0]}" | sha256sum | cut -c 1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/revoiceit-operator
archive=$cache/busybox-$hash/image.tar

mkdir -p -- "$cache"
exec 9>"$cache/busybox-$hash.lock"
flock 9
if [ ! -f "$archive" ]; then
    rm -rf -- "$cache/busybox-$hash".??????
    work=$(mktemp -d -- "$cache/busybox-$hash.XXXXXX")
    trap 'rm -rf -- "$work"' EXIT
    mkdir -p -- "$work/root/bin"
    cp -- "$busybox" "$work/root/bin/busybox"
    for command in $("$busybox" --list); do
        [ "$command" = busybox ] || ln -s busybox "$work/root/bin/$command"
    done
    printf '%s\n' 'FROM scratch' 'COPY root /' 'USER 65532:65532' 'CMD ["sleep", "2147483647"]' >"$work/Dockerfile"
    storage=(--storage-driver vfs --root "$work/storage" --runroot "$work/run")
    buildah "${storage[@]}" bud --quiet --isolation chroot --tag busybox:test "$work" >/dev/null 9>&-
    buildah "${storage[@]}" push --quiet busybox:test "oci-archive:$work/image.tar:localhost/busybox:test" >&2 9>&-
    mkdir -p -- "${archive%/*}"
    mv -- "$work/image.tar" "$archive"
fi
echo "$archive"
