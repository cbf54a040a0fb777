#!/usr/bin/env bash
# Checks the language of the documentation, of the chart, and of the comments and messages in src/ and crates/ with Vale and the rules
# in tools/prose/styles. Fails on any error, and if more than 1 line in 200 has a warning. With --build, only builds Vale.
set -euo pipefail
cd "$(dirname "$0")/.."

limit=200 # lines per warning

# shellcheck source=tools/build.sh
. tools/build.sh
# Vale parses source code with tree-sitter, which is written in C.
CGO_ENABLED=1 build prose prose vale github.com/vale-cli/vale/v3/cmd/vale
[ "${1:-}" != --build ] || exit 0

check() { "$bin/vale" --no-exit --output lines.tmpl "$@" | LC_ALL=C sort -t : -k 1,1 -k 2,2n -k 3,3n; }

# The rules themselves: each line of the bad examples has a finding, the good ones have none, and each rule has an example.
found=$(check tools/prose/examples)
missed=$(comm -23 <(grep -nE '[a-z]' tools/prose/examples/bad.* | cut -d : -f 1,2 | LC_ALL=C sort) \
  <(cut -d : -f 1,2 <<<"$found" | LC_ALL=C sort -u))
if [ -n "$missed" ]; then
  echo "prose: no rule finds these lines:" $missed >&2
  exit 1
fi
if grep '^tools/prose/examples/good' <<<"$found" >&2; then
  echo "prose: a rule finds something in the good examples" >&2
  exit 1
fi
for rule in tools/prose/styles/PadOperator/*.yml; do
  name=$(basename "$rule" .yml)
  if ! grep -q " PadOperator.$name: " <<<"$found"; then
    echo "prose: $rule has no example in tools/prose/examples" >&2
    exit 1
  fi
done

status=0
# area NAME LINES PATH...: checks these paths, which have so many lines of text.
area() {
  local name=$1 lines=$2 found errors warnings
  shift 2
  found=$(check "$@")
  errors=$(grep -c ': error ' <<<"$found" || true)
  warnings=$(grep ': warning ' <<<"$found" | cut -d : -f 1,2 | sort -u | wc -l || true)
  [ -z "$found" ] || echo "$found"
  echo "prose: $name: $errors errors; $warnings of $lines lines with a warning (limit: 1 in $limit)"
  if [ "$errors" -gt 0 ] || [ $((warnings * limit)) -gt "$lines" ]; then status=1; fi
}
comments=$(grep -rhE --include '*.rs' '^\s*//' src crates/*/src crates/*/tests | wc -l)
area src "$comments" src crates/*/src crates/*/tests
text=$(find docs README.md CHANGELOG.md -name '*.md' -exec cat {} + | grep -c '[a-z]')
area docs "$text" docs README.md CHANGELOG.md
text=$(find charts -name '*.yaml' -o -name '*.txt' -o -name '*.md' | xargs cat | grep -cE '#|: .* ')
area charts "$text" charts
exit "$status"
