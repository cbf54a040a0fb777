#!/usr/bin/env bash
# Lays out in the folder OUT all files of the container image, and nothing else: the program, linked statically, so that
# the image needs neither a C library nor a shell; the certificates by which Lever, CoderPad and the API server are
# known; and a name for the user that it runs as. The Containerfile runs this inside, `make image` outside.
#   tools/image-files.sh OUT
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:?the folder for the files of the image}
host=$(rustc -vV | sed -n 's/^host: //p')

# They would take the place of the flags below.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
# With a target named, what is built lies apart from the usual builds, and build scripts are not linked statically.
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
