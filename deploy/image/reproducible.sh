#!/usr/bin/env bash
# Builds the image's program twice, from copies of the sources in two folders, with two folders to build in, and fails unless
# both are the same to the byte.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
for place in "$work/one" "$work/another/and/deeper"; do
    mkdir -p -- "$place/src"
    tar --create --exclude=./target --exclude-vcs . | tar --extract --directory "$place/src"
    CARGO_TARGET_DIR=$place/target "$place/src/deploy/image/compile.sh" revoiceit-operator "$place/image"
    sha256sum -- "$place/image/revoiceit-operator"
    rm -rf -- "$place/target"
done
cmp -- "$work/one/image/revoiceit-operator" "$work/another/and/deeper/image/revoiceit-operator"
echo "the same, $(stat -c %s "$work/one/image/revoiceit-operator") bytes"
