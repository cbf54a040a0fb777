//! Instructions for trying things by hand, with `KEEP=1` and `make dev`.

use anyhow::Context as _;
use testkit::repository;

use crate::environment::Environment;
use crate::examples::{self, CONNECTION, NAMESPACE};
use crate::fixtures::Candidate;

/// Returns commands for another terminal. `open` has an open pad; `again` gets a second one.
pub(crate) fn instructions(
    environment: &Environment,
    open: &Candidate,
    again: &Candidate,
) -> anyhow::Result<String> {
    let plane = environment.plane.as_ref().context("there is no control plane")?;
    let operator = environment.operator.as_ref().context("there is no operator")?;
    let services = environment.services.as_ref().context("there are no simulated services")?;
    let rule = examples::rule(examples::PHONE_SCREEN)?;

    let [open_name, again_name] = [open, again].map(|candidate| candidate.name);
    let [open, again] = [open, again].map(|candidate| candidate.id.as_str());
    let example = examples::opportunity_by_hand()?;
    let (stage_name, tag) = (&rule.stage, &rule.tag);
    let (repository, kubeconfig) = (repository().display(), plane.kubeconfig().display());
    let (programs, log) = (plane.programs().display(), operator.log().display());
    let (lever, interview) = (services.lever.origin(), services.interview.origin());
    let admin = operator.admin_url();

    Ok(format!(
        r#"Everything stays up until Ctrl-C. In another terminal:

    cd {repository}
    export KUBECONFIG={kubeconfig}
    export PATH={programs}:$PATH
    lever={lever}/_simulator interview={interview}/_simulator
    json='content-type: application/json'
    kubectl get pads -n {NAMESPACE} -o wide

Add a candidate to the simulated Lever, move them, and see the link on their profile:

    id=$(curl -sH "$json" -d '{{"name": "Your Name", "tags": ["{tag}"]}}' $lever/candidates | cut -d'"' -f4)
    curl -sH "$json" -d '{{"stage": "{stage_name}"}}' $lever/fixtures/$id/move; echo
    sleep 1; curl -s $lever/fixtures/$id | grep -o '"links":[^]]*]'

End the interview of {open_name}, ask for a sync, and read the note:

    pad=$(kubectl get pads -n {NAMESPACE} --field-selector spec.opportunityID={open} -o 'jsonpath={{.items[0].status.padID}}')
    curl -sX POST $interview/pads/$pad/end; echo
    kubectl annotate {CONNECTION} -n {NAMESPACE} --overwrite padoperator.dev/reconcile-requested-at=$(date +%s)
    sleep 2; curl -s $lever/fixtures/{open} | grep -o '"value":"The [^"]*"'

Create a second pad for {again_name} by hand:

    sed s/{example}/{again}/ examples/pad-by-hand.yaml | kubectl apply -f -

Explore:

    kubectl explain padconfiguration.spec          # every field
    curl $lever/deliveries                         # the webhooks and their responses
    curl $interview/pads                           # the pads in the simulated CoderPad
    curl {admin}/metrics
    tail -f {log}
"#
    ))
}
