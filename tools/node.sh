#!/usr/bin/env bash
# Builds the parts of one real Kubernetes node, in addition to the control plane (kubelet, kube-proxy, kube-scheduler, CoreDNS
# and the pause program), into .tools/bin from the pinned Go modules in tools/, once. Installs missing Debian packages, or
# lists them if it cannot install them.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
  echo "node: needs root for namespaces, cgroups and containers: sudo --preserve-env=PATH make e2e" >&2
  exit 1
fi

# They provide containerd and ctr, runc, bridge and other network plugins, nft, ip, buildah, openssl, unshare.
packages=(containerd runc containernetworking-plugins nftables iproute2 buildah openssl util-linux ca-certificates)
missing=()
for package in "${packages[@]}"; do
  dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "node: missing Debian packages: ${missing[*]}" >&2
    exit 1
  fi
  echo "node: installing ${missing[*]} ..."
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v go >/dev/null; then
  echo "node: the build needs Go. Install Go 1.26 or newer." >&2
  exit 1
fi

# shellcheck source=tools/build.sh
. tools/build.sh
version=$(kubernetes_version node)
if [ "$version" != "$(kubernetes_version control-plane)" ]; then
  echo "node: tools/node and tools/control-plane pin different versions of Kubernetes" >&2
  exit 1
fi

for program in kube-scheduler kubelet kube-proxy; do
  build node node "$program" "k8s.io/kubernetes/cmd/$program" "$version"
done
build node node pause ./pause
build node coredns coredns .
echo "node: ready in .tools/bin"
