//! The pads behind the links on a candidate: which links are pads, and which entry a linked pad serves (contract X6).

use crate::state::{ConnectionState, StageEntry};
use api::configuration::Repeat;
use api::names::Reference;
use services::coderpad::{self, PadRecord};

/// Maximum number of links of a candidate that are searched for a pad of ours: the newest, which Lever lists last
/// (contract X6).
pub(super) const MAX_LINKS_READ: usize = 20;

/// Reports whether a pad linked on the candidate serves this entry (contract X6).
pub(super) fn serves(record: &PadRecord, entry: &StageEntry, repeat: Repeat) -> bool {
    let Some(reference) = Reference::from_notes(&record.notes) else { return false };
    if record.is_deleted() || reference.series() != entry.reference.series() {
        return false;
    }
    let Some(at) = entry.at else { return reference == entry.reference };
    match repeat {
        Repeat::Never => true,
        Repeat::Always => reference == entry.reference,
        // A pad that had not ended when the candidate entered the stage serves this entry too.
        Repeat::AfterEnd => {
            reference == entry.reference || record.ended_at.map_or(!record.is_ended(), |ended| at <= ended)
        }
    }
}

/// Returns the ID of a pad from a link on the candidate.
pub(super) fn linked_pad_id(link: &str, connection: &ConnectionState) -> Option<String> {
    let ConnectionState::Ready { interview_url, .. } = connection else { return None };
    pad_id_of_link(link, interview_url)
}

/// Returns the ID of a pad from a link to it: one to coderpad.io, or to the host of the Interview API.
pub fn pad_id_of_link(link: &str, interview_url: &str) -> Option<String> {
    let url = url::Url::parse(link).or_else(|_| url::Url::parse(&format!("https://{link}"))).ok()?;
    let host = url.host_str()?;
    let is_own = || url::Url::parse(interview_url).is_ok_and(|own| own.host_str() == Some(host));
    let is_coderpad = host == "coderpad.io" || host.ends_with(".coderpad.io") || is_own();
    // A segment with a dot is a file, such as index.html, whose read might get an answer that is not the API's.
    let is_id = |id: &&str| coderpad::is_pad_id(id) && !id.contains('.');
    let id = url.path_segments()?.next().filter(is_id)?;
    is_coderpad.then(|| id.to_owned())
}
