#!/usr/bin/env bash
# Writes all files of the container image to the folder OUT: the program, linked statically, so that the image needs neither a
# C library nor a shell; the CA certificates to verify Lever, CoderPad and the API server; and a name for the user of the
# process. The Containerfile runs this inside the build, `make image` outside.
#   tools/image-files.sh OUT
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:?the folder for the files of the image}
host=$(rustc -vV | sed -n 's/^host: //p')

# These variables would override the flags below.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
# An explicit target keeps the output separate from the usual builds, and build scripts are not linked statically.
cargo build --release --locked --package pad-operator --bin pad-operator --target "$host" \
  --config "target.$host.rustflags = ['-Ctarget-feature=+crt-static', '-Cstrip=symbols']"

rm -rf "$out"
mkdir -p "$out/etc/ssl/certs"
cp "${CARGO_TARGET_DIR:-target}/$host/release/pad-operator" "$out/pad-operator"
cp /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/ca-certificates.crt"
echo 'pad-operator:x:65532:65532::/:/nonexistent' >"$out/etc/passwd"
echo 'pad-operator:x:65532:' >"$out/etc/group"
find "$out" -type d -exec chmod 755 {} +
chmod 644 "$out"/etc/passwd "$out"/etc/group "$out"/etc/ssl/certs/*
chmod 755 "$out/pad-operator"
