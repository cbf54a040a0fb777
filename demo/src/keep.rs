//! `KEEP=1`: how to go on by hand.

use std::fmt::Write as _;

use anyhow::Context as _;

use crate::candidates::Candidate;
use crate::examples::{self, NAMESPACE, repository};
use crate::stage::Stage;

/// What to type in another terminal.
pub(crate) fn explain(stage: &Stage, candidates: &[Candidate]) -> anyhow::Result<String> {
    let plane = stage.plane.as_ref().context("there is no control plane")?;
    let operator = stage.operator.as_ref().context("there is no operator")?;
    let services = stage.services.as_ref().context("there are no simulated services")?;
    let untagged = candidates.iter().find(|candidate| services.lever.links(&candidate.id).is_empty());
    let untagged = untagged.context("every candidate has a pad")?;
    let tag = examples::rule(examples::PHONE_SCREEN)?.tag;

    let mut text = String::new();
    writeln!(text, "Everything stays up until Ctrl-C. In another terminal:\n")?;
    writeln!(text, "  cd {}", repository().display())?;
    writeln!(text, "  export KUBECONFIG={}", plane.kubeconfig().display())?;
    writeln!(text, "  export PATH={}:$PATH", plane.programs().display())?;
    writeln!(text, "  kubectl get pads -n {NAMESPACE} --watch\n")?;
    writeln!(text, "Add a candidate to the simulated Lever, move them, and see the link appear:\n")?;
    writeln!(text, "  json='content-type: application/json' lever={}/_simulator", services.lever.origin())?;
    writeln!(
        text,
        "  id=$(curl -s -H \"$json\" -d '{{\"name\": \"Your Name\", \"tags\": [\"{tag}\"]}}' $lever/candidates | cut -d'\"' -f4)"
    )?;
    writeln!(text, "  curl -H \"$json\" -d '{{\"stage\": \"Phone Screen\"}}' $lever/candidates/$id/move")?;
    writeln!(text, "  curl $lever/candidates/$id\n")?;
    writeln!(text, "Tag {} after all, or make a pad by hand; both work:\n", untagged.name)?;
    writeln!(
        text,
        "  curl -H \"$json\" -d '{{\"add\": [\"{tag}\"]}}' $lever/candidates/{}/tags    # found by the next sync",
        untagged.id
    )?;
    writeln!(
        text,
        "  sed s/{}/{}/ examples/pad-by-hand.yaml | kubectl apply -f -\n",
        examples::opportunity_by_hand()?,
        untagged.id
    )?;
    writeln!(text, "Look around:\n")?;
    writeln!(
        text,
        "  curl {}/_simulator/pads       # the pads at the simulated CoderPad",
        services.interview.origin()
    )?;
    writeln!(text, "  curl $lever/deliveries       # the webhooks and their answers")?;
    writeln!(text, "  curl {}/metrics", operator.admin())?;
    writeln!(text, "  tail -f {}", operator.log().display())?;
    Ok(text)
}
