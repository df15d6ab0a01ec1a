#!/usr/bin/env bash
# Compiles a program and lays out what is in its image, in the folder $2. $1 is revoiceit-operator: one static program, its name
# as a plugin of kubectl, and the certificate authorities that it trusts. Or it is revoiceit-sandbox: the program alone.
#
# The Dockerfile runs it, and build.sh beside it, so that there is one way in which the program is built. The same sources and
# the same compiler make the same bytes, wherever the sources and Cargo's folders are.
set -euo pipefail
program=${1:?revoiceit-operator or revoiceit-sandbox}
root=${2:?the folder to lay it out in}
mkdir -p -- "$root"
root=$(cd -- "$root" && pwd)
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

# What cargo tells a test of the test's package would be news to build scripts, and everything would be built anew.
for name in $(compgen -e | grep -E '^CARGO_(PKG|MANIFEST|BIN|CRATE|PRIMARY)_' || true); do
    unset "$name"
done

target=$(rustc --print host-tuple)
# With a target named, +crt-static is for the program alone and not for the macros that the compiler loads. The folder of these sources is in
# no flag, since it is in no path that the compiler is given: another checkout would build all libraries anew.
# Libraries have the features that the packages named here want of them: with the operator's always among them, both programs are made
# of the same ones, and the second is built in seconds.
flags=(-C target-feature=+crt-static "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo")
env -u RUSTFLAGS -u RUSTC_WRAPPER CARGO_ENCODED_RUSTFLAGS="$(IFS=$'\x1f'; printf '%s' "${flags[*]}")" \
    cargo build --locked --release --target "$target" --package revoiceit-operator --package "$program" --bin "$program"

install --mode 755 -- "${CARGO_TARGET_DIR:-target}/$target/release/$program" "$root/$program"
if [ "$program" = revoiceit-operator ]; then
    ln -sf revoiceit-operator "$root/kubectl-revoiceit"
    install -D --mode 644 -- /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
fi
