//! `KEEP=1`: how to go on by hand.

use anyhow::Context as _;

use crate::examples::{self, CONNECTION, NAMESPACE, repository};
use crate::stage::Stage;
use crate::story::Cast;

/// What to type in another terminal.
pub(crate) fn explain(stage: &Stage, cast: &Cast) -> anyhow::Result<String> {
    let plane = stage.plane.as_ref().context("there is no control plane")?;
    let operator = stage.operator.as_ref().context("there is no operator")?;
    let services = stage.services.as_ref().context("there are no simulated services")?;
    let rule = examples::rule(examples::PHONE_SCREEN)?;

    let [ada, _, _, joan, _] = &cast.candidates;
    let [ada_name, joan_name] = [ada, joan].map(|candidate| candidate.name);
    let [ada, joan] = [ada, joan].map(|candidate| candidate.id.as_str());
    let example = examples::opportunity_by_hand()?;
    let (stage_name, tag) = (&rule.stage, &rule.tag);
    let (repository, kubeconfig) = (repository().display(), plane.kubeconfig().display());
    let (programs, log) = (plane.programs().display(), operator.log().display());
    let (lever, interview) = (services.lever.origin(), services.interview.origin());
    let admin = operator.admin();

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
    curl -sH "$json" -d '{{"stage": "{stage_name}"}}' $lever/candidates/$id/move; echo
    sleep 1; curl -s $lever/candidates/$id | grep -o '"links":[^]]*]'

End the interview of {joan_name}, ask for a sync, and read the note:

    pad=$(kubectl get pads -n {NAMESPACE} --field-selector spec.opportunityID={joan} -o 'jsonpath={{.items[0].status.padID}}')
    curl -sX POST $interview/pads/$pad/end; echo
    kubectl annotate {CONNECTION} -n {NAMESPACE} --overwrite padoperator.dev/reconcile-requested-at=$(date +%s)
    sleep 2; curl -s $lever/candidates/{joan} | grep -o '"value":"The [^"]*"'

Make a second pad for {ada_name} by hand:

    sed s/{example}/{ada}/ examples/pad-by-hand.yaml | kubectl apply -f -

Look around:

    kubectl explain padconfiguration.spec          # every field
    curl $lever/deliveries                         # the webhooks and their answers
    curl $interview/pads                           # the pads at the simulated CoderPad
    curl {admin}/metrics
    tail -f {log}
"#
    ))
}
