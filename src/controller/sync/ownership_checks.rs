//! Links of other pads on candidates with one of ours: another installation may have created one at the same time
//! (contract I5). Sync adds hints for these Pads; each reads the linked pads itself.

use super::SyncContext;
use crate::k8s::ObjectKey;
use api::Pad;
use api::names::PAD_ID;
use api::pad::Phase;
use engine::hints::Hint;
use engine::rules::linked_pads::pad_id_of_link;
use kube::ResourceExt;
use lever::Opportunity;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Maximum number of hints in one scan, for the Pads of one configuration.
const MAX_HINTS_PER_SCAN: usize = 20;

impl SyncContext<'_> {
    /// Returns the IDs of the pads whose links are on a candidate.
    pub(super) fn linked_pads(&self, opportunity: &Opportunity) -> Vec<String> {
        let url = &self.connection.spec.interview.url;
        opportunity.links.iter().filter_map(|link| pad_id_of_link(link, url)).collect()
    }
}

/// Adds hints for the open Pads whose candidates have links of unknown pads. `linked` contains the IDs of the linked
/// pads by candidate, `pads` the Pads of one configuration by candidate.
pub fn request_ownership_checks(
    session: &SyncContext<'_>,
    linked: &HashMap<String, Vec<String>>,
    pads: &HashMap<&str, Vec<Arc<Pad>>>,
) {
    // Other configurations have pads for the candidate, too.
    let own: HashSet<&String> = session.pads.iter().filter_map(|pad| pad.annotations().get(PAD_ID)).collect();
    let concerned = linked.iter().filter_map(|(candidate, ids)| {
        let of_candidate = pads.get(candidate.as_str())?;
        let open = of_candidate.iter().find(|pad| is_open(pad))?;
        let others: Vec<&String> = ids.iter().filter(|id| !own.contains(id)).collect();
        let memory = &session.context.memory;
        let are_known =
            memory.read(&ObjectKey::from_object(open.as_ref()), |entry| entry.knows_links(&others));
        (!are_known).then_some(open)
    });
    for pad in concerned.take(MAX_HINTS_PER_SCAN) {
        session.add_hint(pad, Hint::OtherInstallations);
    }
}

fn is_open(pad: &Pad) -> bool {
    matches!(pad.phase(), Some(Phase::Open | Phase::Started))
}
