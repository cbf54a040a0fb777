#!/usr/bin/env bash
# Runs one real Kubernetes node, with its control plane, for as long as its standard input is open: etcd,
# kube-apiserver, kube-controller-manager, kube-scheduler, containerd and runc, kubelet, kube-proxy, CoreDNS.
#   tools/node/run.sh          (by hand: Ctrl-D or Ctrl-C ends it)
# It says where its kubeconfig is once the node is Ready and names are resolved.
#
# Everything runs in a mount, a network and a PID namespace of its own (init.sh is the first process in there), so that
# nothing of the machine's is touched: the end of the first process is the end of all processes, mounts, interfaces and
# rules. Outside there are only a pair of linked interfaces with two routes, by which the machine reaches the API server,
# Services and Pods, and Pods reach what listens at HOST_ADDRESS; a folder; and the cgroups of the Pods. They are removed
# at the end, and what a killed run has left is removed at the start.
set -euo pipefail
cd "$(dirname "$0")/../.."

export NODE=node ADDRESS=172.31.99.1 HOST_ADDRESS=172.31.99.254 PORT=6443
export POD_NETWORK=10.244.7.0/24 SERVICE_NETWORK=10.96.0.0/16 API_SERVICE=10.96.0.1 DNS_SERVICE=10.96.0.10
# Not in /tmp, which may be in memory; a short name, as there are sockets in it.
export FOLDER=/var/tmp/pad-operator-node
export SCRIPTS="$PWD/tools/node"
export PATH="${KUBEBUILDER_ASSETS:-$PWD/.tools/bin}:$PWD/.tools/bin:$PATH"
export KUBECONFIG="$FOLDER/admin.kubeconfig"
link=padnode0

fail() {
  echo "node: $*" >&2
  exit 1
}

[ "$(id -u)" -eq 0 ] || fail "root is needed, for namespaces, cgroups and containers"
exec 9>/run/lock/pad-operator-node.lock
flock --nonblock 9 || fail "another one runs on this machine; it has the same addresses"

cgroups() {
  find /sys/fs/cgroup -maxdepth 2 -type d -name kubepods
}

# The cgroups go only with the last of their processes, so this is tried for some seconds.
clear_away() {
  local left
  ip link delete "$link" 2>/dev/null || true
  for _ in $(seq 100); do
    left=$(cgroups)
    [ -n "$left" ] || break
    # shellcheck disable=SC2086  # one word for each
    find $left -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
  done
  rm -rf "$FOLDER"
}

clear_away
[ -z "$(cgroups)" ] || fail "there are Pods on this machine already: $(cgroups | head -1) has processes. Does another kubelet run?"

unshare='' owner_watch=''
# shellcheck disable=SC2317  # the trap calls it
end() {
  local code=$?
  trap - EXIT TERM INT
  [ -z "$owner_watch" ] || kill "$owner_watch" 2>/dev/null || true
  if [ -n "$unshare" ]; then
    # It takes its child with it, and that one its whole PID namespace.
    kill -KILL "$unshare" 2>/dev/null || true
    wait "$unshare" 2>/dev/null || true
  fi
  if [ "$code" -ne 0 ] && [ "$code" -ne 143 ] && [ -d "$FOLDER/log" ]; then
    rm -rf "$FOLDER.log"
    mv "$FOLDER/log" "$FOLDER.log"
    echo "node: the logs of its programs are kept in $FOLDER.log" >&2
  fi
  clear_away
  exit "$code"
}
trap end EXIT
trap 'exit 143' TERM INT

# Whoever starts this holds the other end of standard input: if that one is killed, this ends too.
exec 3<&0 </dev/null
{ while read -r _; do :; done <&3; kill -TERM $$; } 9>&- &
owner_watch=$!
exec 3<&-

started=${EPOCHREALTIME/./}
say() {
  local now=${EPOCHREALTIME/./} tenths
  tenths=$(((now - started) / 100000))
  echo "node: $((tenths / 10)).$((tenths % 10)) s: $*"
}
# wait_for WHAT COMMAND...: for a minute.
wait_for() {
  local what=$1
  shift
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then
      say "$what"
      return
    fi
    kill -0 "$unshare" 2>/dev/null || fail "it has ended before: $what"
    sleep 0.1
  done
  fail "waited a minute in vain for: $what"
}

mkdir -m 700 "$FOLDER"
mkdir "$FOLDER"/{pki,log,images,kubelet,containerd,cni,volume-plugins}
"$SCRIPTS/pki.sh"
"$SCRIPTS/pause-image.sh" "$FOLDER/images/pause.tar"

# If this script is killed, so is unshare; its child, and with it all others, is killed with it in any case.
setpriv --pdeathsig KILL \
  unshare --mount --net --pid --fork --kill-child --propagation private --mount-proc \
  bash "$SCRIPTS/init.sh" >"$FOLDER/log/init.log" 2>&1 &
unshare=$!
first=
for _ in $(seq 100); do
  first=$(tr -d ' ' <"/proc/$unshare/task/$unshare/children")
  [ -z "$first" ] || break
  sleep 0.02
done
ip link add "$link" type veth peer name eth0 netns "$first"
ip address add "$HOST_ADDRESS/24" dev "$link"
ip link set "$link" up
for network in "$POD_NETWORK" "$SERVICE_NETWORK"; do ip route add "$network" via "$ADDRESS" dev "$link"; done

# shellcheck disable=SC2317  # wait_for calls it
ready() { kubectl get node "$NODE" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -q True; }
wait_for "kube-apiserver answers" kubectl get --raw /readyz
wait_for "the node is Ready" ready
wait_for "Pods can be made" kubectl get serviceaccount default
wait_for "names are resolved" curl --silent --fail "http://$ADDRESS:8181/ready"
echo "KUBECONFIG=$KUBECONFIG"
wait "$unshare" || true
fail "it has ended by itself"
