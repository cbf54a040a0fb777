#!/usr/bin/env bash
# First process of the node's namespaces; run.sh starts it and sets the variables. It creates the network, starts the
# programs and adopts orphaned processes. Only settings that matter are listed, with their reason.
set -euo pipefail

start() {
  local program=$1
  shift
  "$program" "$@" >"$FOLDER/log/$program.log" 2>&1 &
}
socket=$FOLDER/containerd/containerd.sock
until_answers() { for _ in $(seq 600); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.1; done; exit 1; }

# Containerd, the network plugins and the kubelet use these fixed paths.
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/containerd /run/lock
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/kubelet
mount --bind "$FOLDER/kubelet" /var/lib/kubelet
mount --make-rshared /var/lib/kubelet

# run.sh creates the other end of eth0. Outside, Pods appear with the node's address.
ip link set lo up
until_answers ip link show eth0
ip address add "$ADDRESS/24" dev eth0
ip link set eth0 up
ip route add default via "$HOST_ADDRESS"
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<K
table ip node {
  chain leaving { type nat hook postrouting priority 100; ip saddr $POD_NETWORK ip daddr != $POD_NETWORK masquerade; }
}
K
cat >"$FOLDER/cni/10-bridge.conflist" <<K
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
 {"type": "bridge", "bridge": "pods0", "isGateway": true, "hairpinMode": true,
  "ipam": {"type": "host-local", "dataDir": "$FOLDER/cni/addresses", "ranges": [[{"subnet": "$POD_NETWORK"}]],
           "routes": [{"dst": "0.0.0.0/0"}]}}]}
K

# restrict_oom_score_adj: processes may not lower their OOM score where root lacks CAP_SYS_RESOURCE, as in many
# containers.
cat >"$FOLDER/containerd/config.toml" <<K
version = 2
root = "$FOLDER/containerd/root"
state = "$FOLDER/containerd/state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$FOLDER/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
  path = "$FOLDER/containerd/opt"
K

# failCgroupV1: also run on machines with cgroups v1. cgroupDriver, enforceNodeAllocatable: there is no systemd here.
# syncFrequency: changes of Secrets reach Pods within seconds.
echo "nameserver $ADDRESS" >"$FOLDER/resolv.conf"
cat >"$FOLDER/kubelet.yaml" <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $ADDRESS
containerRuntimeEndpoint: unix://$socket
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: 20000
enforceNodeAllocatable: []
makeIPTablesUtilChains: false
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $FOLDER/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $FOLDER/pki/kubelet.crt
tlsPrivateKeyFile: $FOLDER/pki/kubelet.key
clusterDomain: cluster.local
clusterDNS: [$DNS_SERVICE]
resolvConf: $FOLDER/resolv.conf
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
volumePluginDir: $FOLDER/volume-plugins
syncFrequency: 2s
nodeStatusUpdateFrequency: 5s
K
# conntrack: these settings belong to the machine, not to the namespace.
cat >"$FOLDER/kube-proxy.yaml" <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $FOLDER/kube-proxy.kubeconfig}
mode: nftables
hostnameOverride: $NODE
clusterCIDR: $POD_NETWORK
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
K
# Names outside of the cluster are not resolved.
cat >"$FOLDER/Corefile" <<K
.:1053 {
  errors
  ready $ADDRESS:8181
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $FOLDER/coredns.kubeconfig
  }
  cache 5
}
K

# No fsync, because no data here has to survive a crash of the machine.
start etcd --data-dir "$FOLDER/etcd" --unsafe-no-fsync
start kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address="$ADDRESS" --advertise-address="$ADDRESS" \
  --secure-port="$PORT" --service-cluster-ip-range="$SERVICE_NETWORK" \
  --tls-cert-file="$FOLDER/pki/apiserver.crt" --tls-private-key-file="$FOLDER/pki/apiserver.key" \
  --client-ca-file="$FOLDER/pki/ca.crt" --kubelet-certificate-authority="$FOLDER/pki/ca.crt" \
  --kubelet-client-certificate="$FOLDER/pki/apiserver-to-kubelet.crt" \
  --kubelet-client-key="$FOLDER/pki/apiserver-to-kubelet.key" --kubelet-preferred-address-types=InternalIP \
  --service-account-key-file="$FOLDER/pki/service-accounts.pub" \
  --service-account-signing-key-file="$FOLDER/pki/service-accounts.key" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction
start containerd --config "$FOLDER/containerd/config.toml"
until_answers ctr --address "$socket" version
ctr --address "$socket" --namespace k8s.io images import "$FOLDER/images/pause.tar"
until_answers kubectl get --raw /readyz
kubectl apply --filename "$SCRIPTS/dns.yaml"
# With the default of 20 requests per second the first Pods have to wait for their ServiceAccount. The default plugin
# folder is under /usr/libexec.
start kube-controller-manager --kubeconfig="$FOLDER/kube-controller-manager.kubeconfig" \
  --service-account-private-key-file="$FOLDER/pki/service-accounts.key" --root-ca-file="$FOLDER/pki/ca.crt" \
  --use-service-account-credentials=true --secure-port=0 --leader-elect=false --kube-api-qps=500 --kube-api-burst=1000 \
  --flex-volume-plugin-dir="$FOLDER/volume-plugins"
start kube-scheduler --kubeconfig="$FOLDER/kube-scheduler.kubeconfig" --secure-port=0 --leader-elect=false
start kubelet --config="$FOLDER/kubelet.yaml" --kubeconfig="$FOLDER/kubelet.kubeconfig" --hostname-override="$NODE" \
  --node-ip="$ADDRESS"
start kube-proxy --config="$FOLDER/kube-proxy.yaml"
start coredns -conf "$FOLDER/Corefile"

# Reaps orphaned processes until it is killed.
while true; do wait -n || sleep 1; done
