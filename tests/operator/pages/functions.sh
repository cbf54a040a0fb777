# Simulated actions in Lever and in CoderPad, for the comments of the pages. Each page's shell has these functions.

# candidate VARIABLE NAME [TAG]: adds a candidate to Lever and stores the ID in the variable.
candidate() {
  local tags='[]'
  if [ -n "${3:-}" ]; then tags="[\"$3\"]"; fi
  local answer
  answer=$(curl -sfH "$json" -d "{\"name\": \"$2\", \"tags\": $tags}" "$lever/candidates")
  declare -g "$1=$(echo "$answer" | cut -d'"' -f4)"
}

# move ID STAGE: moves a candidate; Lever sends a webhook.
move() { curl -sfH "$json" -d "{\"stage\": \"$2\"}" "$lever/candidates/$1/move" >/dev/null; }

# tag ID TAG, untag ID TAG: changes a tag; Lever sends no webhook.
tag() { curl -sfH "$json" -d "{\"add\": [\"$2\"]}" "$lever/candidates/$1/tags" >/dev/null; }
untag() { curl -sfH "$json" -d "{\"remove\": [\"$2\"]}" "$lever/candidates/$1/tags" >/dev/null; }

# pad_of ID: prints the name of the candidate's newest Pad.
pad_of() {
  kubectl --namespace "$namespace" get pads --field-selector "spec.opportunityID=$1" \
    --sort-by .metadata.creationTimestamp --output name | tail -n 1 | cut -d/ -f2
}

# until_pad ID PHASE: waits until the candidate's newest Pad is in this phase.
until_pad() {
  local pad
  until pad=$(pad_of "$1") && [ -n "$pad" ]; do sleep 0.1; done
  kubectl --namespace "$namespace" wait "pad/$pad" --for "jsonpath={.status.phase}=$2" --timeout 60s
}

# coderpad ID: prints CoderPad's ID of the candidate's newest pad.
coderpad() { kubectl --namespace "$namespace" get pad "$(pad_of "$1")" --output 'jsonpath={.status.padID}'; }

# interview ID: starts the interview; over ID: ends it.
interview() {
  curl -sfH "$json" -d '{"participants": ["Ada Lovelace", "Olga Owner"]}' "$interview/pads/$(coderpad "$1")/start" >/dev/null
}
over() { curl -sfX POST "$interview/pads/$(coderpad "$1")/end" >/dev/null; }

# links ID WORD: fails unless one link of the candidate contains this word.
links() { curl -sf "$lever/candidates/$1" | grep -o '"links":[^]]*]' | grep -qF -- "$2"; }

# seen OBJECT: waits until its last reconcile request was handled.
seen() {
  local asked
  asked=$(kubectl --namespace "$namespace" get "$1" --output 'jsonpath={.metadata.annotations.padoperator\.dev/reconcile-requested-at}')
  kubectl --namespace "$namespace" wait "$1" --for "jsonpath={.status.lastHandledReconcileAt}=$asked" --timeout 60s
}

# sync: requests a sync and waits until it is over.
sync() {
  kubectl --namespace "$namespace" annotate leverconnection acme --overwrite "padoperator.dev/reconcile-requested-at=$(date +%s%N)"
  seen leverconnection/acme
}
