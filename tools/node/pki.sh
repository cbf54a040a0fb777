#!/usr/bin/env bash
# Creates the keys and certificates of one node and its control plane, and a kubeconfig for each program, in FOLDER.
set -euo pipefail
cd "$FOLDER/pki"

key() { openssl ecparam -genkey -name prime256v1 -noout -out "$1"; }

# certificate NAME SUBJECT [NAMES]: the subject contains the user (CN) and the group (O).
certificate() {
  key "$1.key"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  {
    echo "extendedKeyUsage=serverAuth,clientAuth"
    [ -z "${3:-}" ] || echo "subjectAltName=$3"
  } >"$1.extensions"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile "$1.extensions" -out "$1.crt" \
    2>/dev/null
}

# user NAME SUBJECT [NAMES]: creates a certificate and a self-contained kubeconfig.
user() {
  certificate "$@"
  cat >"$FOLDER/$1.kubeconfig" <<K
apiVersion: v1
kind: Config
current-context: node
contexts: [{name: node, context: {cluster: node, user: $1}}]
clusters: [{name: node, cluster: {server: "https://$ADDRESS:$PORT", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
K
}

key ca.key
openssl req -x509 -new -key ca.key -days 30 -subj /CN=node-ca -out ca.crt
openssl genrsa -out service-accounts.key 2048 2>/dev/null
openssl rsa -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null
service=kubernetes.default.svc
certificate apiserver /CN=kube-apiserver \
  "IP:$ADDRESS,IP:127.0.0.1,IP:$API_SERVICE,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local"
certificate apiserver-to-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
user admin /O=system:masters/CN=admin
user kubelet "/O=system:nodes/CN=system:node:$NODE" "IP:$ADDRESS,DNS:$NODE"
user kube-controller-manager /CN=system:kube-controller-manager
user kube-scheduler /CN=system:kube-scheduler
user kube-proxy /CN=system:kube-proxy
user coredns /CN=system:coredns
