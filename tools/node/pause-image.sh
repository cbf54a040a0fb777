#!/usr/bin/env bash
# Packs the pause program as an image that containerd can import: pause-image.sh ARCHIVE
set -euo pipefail
archive=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tar --create --file "$work/layer.tar" --directory "$(dirname "$(command -v pause)")" --owner=0 --group=0 pause
digest=$(sha256sum "$work/layer.tar" | cut -c1-64)
case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
cat >"$work/config.json" <<K
{"architecture": "$architecture", "os": "linux", "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$digest"]}}
K
echo '[{"Config": "config.json", "RepoTags": ["localhost/pause:1"], "Layers": ["layer.tar"]}]' >"$work/manifest.json"
tar --create --file "$archive" --directory "$work" manifest.json config.json layer.tar
