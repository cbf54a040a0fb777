//! The candidate argument: the URL of a profile in Lever, or an opportunity ID.

use anyhow::{Context, bail};
use api::names::is_opportunity_id;
use url::Url;

/// Returns the opportunity ID from the user's input.
///
/// # Errors
///
/// If the input is neither an ID nor the URL of a profile, such as `https://hire.lever.co/candidates/<id>`.
pub fn opportunity_id(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    let id = if text.contains("://") { id_from_profile(text)? } else { text.to_owned() };
    if !is_opportunity_id(&id) {
        bail!(
            "{text:?} is not a candidate. Use the URL of the profile in Lever, such as \
             https://hire.lever.co/candidates/6408dc54-aaa6-48cd-b8e3-7ee5a92e92e0, or only the ID"
        );
    }
    Ok(id)
}

fn id_from_profile(text: &str) -> anyhow::Result<String> {
    let url = Url::parse(text).with_context(|| format!("{text:?} is not a URL"))?;
    let mut parts = url.path_segments().into_iter().flatten();
    parts
        .find(|part| *part == "candidates" || *part == "opportunities")
        .and_then(|_| parts.next())
        .filter(|id| !id.is_empty())
        .map(ToOwned::to_owned)
        .with_context(|| {
            format!(
                "{text:?} is not the URL of a profile in Lever, such as https://hire.lever.co/candidates/<id>"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_url_and_id_are_accepted() {
        let id = "6408dc54-aaa6-48cd-b8e3-7ee5a92e92e0";
        for text in [
            id.to_owned(),
            format!("  {id}\n"),
            format!("https://hire.lever.co/candidates/{id}"),
            format!("https://hire.sandbox.lever.co/candidates/{id}/?stage=x#notes"),
            format!("https://hire.lever.co/opportunities/{id}/resume"),
        ] {
            assert_eq!(opportunity_id(&text).unwrap(), id, "{text}");
        }
    }

    #[test]
    fn invalid_candidates_are_rejected_with_an_example() {
        let long = "x".repeat(65);
        for text in [
            "",
            "Jane Doe",
            &long,
            "https://hire.lever.co/candidates/",
            "https://hire.lever.co/jobs/1",
            "https://",
        ] {
            let error = format!("{:#}", opportunity_id(text).unwrap_err());
            assert!(error.contains("Lever") || error.contains("URL"), "{text}: {error}");
        }
    }
}
