#!/usr/bin/env bash
# Runs one real Kubernetes node, with its control plane, until its standard input closes: etcd,
# kube-apiserver, kube-controller-manager, kube-scheduler, containerd and runc, kubelet, kube-proxy, CoreDNS.
#   tools/node/run.sh          (manually: Ctrl-D or Ctrl-C stops it)
# Prints the path of its kubeconfig as soon as the node is Ready and DNS works.
#
# Everything runs in a separate mount, network and PID namespace (init.sh is the first process there), so that the machine is
# not changed: when the first process ends, all its processes, mounts, interfaces and rules disappear. Outside there are only:
# a pair of linked interfaces with two routes, through which the machine reaches the API server, Services and Pods, and Pods
# reach listeners at HOST_ADDRESS; a folder; and the cgroups of the Pods. The script removes them at the end, and removes the
# remains of a killed run at the start.
set -euo pipefail
cd "$(dirname "$0")/../.."

export NODE=node ADDRESS=172.31.99.1 HOST_ADDRESS=172.31.99.254 PORT=6443
export POD_NETWORK=10.244.7.0/24 SERVICE_NETWORK=10.96.0.0/16 API_SERVICE=10.96.0.1 DNS_SERVICE=10.96.0.10
# Not in /tmp, which may be in memory. The name is short because the folder contains sockets.
export FOLDER=/var/tmp/pad-operator-node
export SCRIPTS="$PWD/tools/node"
export PATH="${KUBEBUILDER_ASSETS:-$PWD/.tools/bin}:$PWD/.tools/bin:$PATH"
export KUBECONFIG="$FOLDER/admin.kubeconfig"
link=padnode0

fail() {
  echo "node: $*" >&2
  exit 1
}

[ "$(id -u)" -eq 0 ] || fail "needs root for namespaces, cgroups and containers"
exec 9>/run/lock/pad-operator-node.lock
flock --nonblock 9 || fail "another node runs on this machine and uses the same addresses"

cgroups() {
  find /sys/fs/cgroup -maxdepth 2 -type d -name kubepods
}

# A cgroup can be removed only after its last process has ended, so this retries for some seconds.
clear_away() {
  local left
  ip link delete "$link" 2>/dev/null || true
  for _ in $(seq 100); do
    left=$(cgroups)
    [ -n "$left" ] || break
    # shellcheck disable=SC2086  # splits into words
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
    # This ends its child too, and with it the whole PID namespace.
    kill -KILL "$unshare" 2>/dev/null || true
    wait "$unshare" 2>/dev/null || true
  fi
  if [ "$code" -ne 0 ] && [ "$code" -ne 143 ] && [ -d "$FOLDER/log" ]; then
    rm -rf "$FOLDER.log"
    mv "$FOLDER/log" "$FOLDER.log"
    echo "node: the logs of its programs are in $FOLDER.log" >&2
  fi
  clear_away
  exit "$code"
}
trap end EXIT
trap 'exit 143' TERM INT

# The parent process holds the other end of standard input: if the parent is killed, this script ends too.
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
# wait_for WHAT COMMAND...: waits up to a minute until the command succeeds.
wait_for() {
  local what=$1
  shift
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then
      say "$what"
      return
    fi
    kill -0 "$unshare" 2>/dev/null || fail "the node ended before: $what"
    sleep 0.1
  done
  fail "timed out after a minute: $what"
}

mkdir -m 700 "$FOLDER"
mkdir "$FOLDER"/{pki,log,images,kubelet,containerd,cni,volume-plugins}
"$SCRIPTS/pki.sh"
"$SCRIPTS/pause-image.sh" "$FOLDER/images/pause.tar"

# If this script is killed, unshare is killed too, and with it its child and all other processes.
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
wait_for "Pods can be created" kubectl get serviceaccount default
wait_for "names are resolved" curl --silent --fail "http://$ADDRESS:8181/ready"
echo "KUBECONFIG=$KUBECONFIG"
wait "$unshare" || true
fail "the node ended unexpectedly"
