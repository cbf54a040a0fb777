# Sourced by the scripts that build programs from the pinned Go modules in tools/ into .tools/bin.
# shellcheck shell=bash

bin="$PWD/.tools/bin"
mkdir -p "$bin"
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"

# build FOR MODULE PROGRAM PACKAGE [LDFLAGS]: builds the program once. A stamp of the pins, the Go version, the package and
# the flags decides whether to build again. Prints one line before and one after, so that a long build shows progress.
# Builds to a temporary name and renames it, so that an interrupted build leaves no partial program behind.
build() {
  local for=$1 module=$2 program=$3 package=$4 ldflags="-s -w ${5:-}" stamp start
  stamp=$({
    find "tools/$module" -name 'go.*' -o -name '*.go' | LC_ALL=C sort | xargs cat
    go version
    echo "$package $ldflags"
  } | sha256sum | cut -c1-64)
  if [ -x "$bin/$program" ] && [ "$(cat "$bin/.$program.stamp" 2>/dev/null)" = "$stamp" ]; then
    return
  fi
  echo "$for: building $program ..."
  start=$SECONDS
  (cd "tools/$module" && go build -ldflags "$ldflags" -o "$bin/$program.new" "$package")
  mv "$bin/$program.new" "$bin/$program"
  echo "$stamp" >"$bin/.$program.stamp.new"
  mv "$bin/.$program.stamp.new" "$bin/.$program.stamp"
  echo "$for: built $program in $((SECONDS - start)) s"
}

# Prints the linker flags that set the version of the Kubernetes programs, from the module that pins it.
kubernetes_version() {
  local version minor
  version=$(cd "tools/$1" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
  minor=${version#v1.}
  echo "-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1" \
    "-X k8s.io/component-base/version.gitMinor=${minor%%.*} -X k8s.io/component-base/version.gitTreeState=clean"
}
