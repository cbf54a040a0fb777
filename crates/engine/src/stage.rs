//! The stage of a configuration, and which of several configurations of one stage and tag takes effect.

use api::PadConfiguration;
use api::connection::Stage;
use kube::ResourceExt;

/// Reason for which spec.stage cannot be resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StageProblem {
    /// The stages of the Lever account have not been read yet.
    NotKnownYet,
    /// No stage has this ID or name.
    NotFound,
    /// Several stages have this name.
    Ambiguous(Vec<Stage>),
}

/// Resolved stage of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundStage {
    /// ID and current name of the stage.
    pub stage: Stage,
    /// Whether the stage was renamed in Lever, so that only its ID still matches.
    pub renamed: bool,
}

/// Returns the stage of a configuration among those of the Lever account: by the ID to which the same text was resolved
/// before, otherwise by ID, otherwise by exact name.
pub fn stage_of(configuration: &PadConfiguration, stages: &[Stage]) -> Result<FoundStage, StageProblem> {
    if stages.is_empty() {
        return Err(StageProblem::NotKnownYet);
    }
    let wanted = configuration.spec.stage.as_str();
    let by_id = |id: &str| stages.iter().find(|stage| stage.id == id).cloned();
    let found_before = configuration.status.as_ref().and_then(|status| status.stage.as_ref());
    let kept = found_before.filter(|before| before.named == wanted).and_then(|before| by_id(&before.id));
    if let Some(stage) = kept {
        let renamed = stage.id != wanted && stage.name != wanted;
        return Ok(FoundStage { stage, renamed });
    }
    if let Some(stage) = by_id(wanted) {
        return Ok(FoundStage { stage, renamed: false });
    }
    let named: Vec<Stage> = stages.iter().filter(|stage| stage.name == wanted).cloned().collect();
    match named.as_slice() {
        [] => Err(StageProblem::NotFound),
        [stage] => Ok(FoundStage { stage: stage.clone(), renamed: false }),
        _ => Err(StageProblem::Ambiguous(named)),
    }
}

/// Returns the configuration that takes precedence over this one: with the same connection, stage and tag, the older
/// one, then the one with the lower name, even if it is suspended. None if this one takes precedence.
pub fn conflict<'a>(
    configuration: &PadConfiguration,
    others: impl IntoIterator<Item = &'a PadConfiguration>,
    stages: &[Stage],
) -> Option<&'a PadConfiguration> {
    let stage = stage_of(configuration, stages).ok()?.stage;
    let age = |one: &PadConfiguration| {
        (one.metadata.creation_timestamp.as_ref().map(|time| time.0), one.name_any())
    };
    others
        .into_iter()
        .filter(|other| other.name_any() != configuration.name_any())
        .filter(|other| other.metadata.deletion_timestamp.is_none())
        .filter(|other| other.spec.connection_ref == configuration.spec.connection_ref)
        .filter(|other| other.spec.tag == configuration.spec.tag)
        .filter(|other| stage_of(other, stages).is_ok_and(|found| found.stage.id == stage.id))
        .filter(|other| age(other) < age(configuration))
        .min_by_key(|other| age(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::configuration::{PadConfigurationStatus, ResolvedStage};
    use serde_json::json;

    fn configuration(name: &str, stage: &str, second: i64) -> PadConfiguration {
        serde_json::from_value(json!({
            "apiVersion": "padoperator.dev/v1alpha1", "kind": "PadConfiguration",
            "metadata": {"name": name, "namespace": "hiring",
                "creationTimestamp": jiff::Timestamp::from_second(second).unwrap()},
            "spec": {"connectionRef": {"name": "acme"}, "stage": stage},
        }))
        .unwrap()
    }

    fn stages(list: &[(&str, &str)]) -> Vec<Stage> {
        list.iter().map(|(id, name)| Stage { id: (*id).into(), name: (*name).into() }).collect()
    }

    #[test]
    fn a_stage_is_found_by_exact_name_or_id() {
        let stages =
            stages(&[("lead-new", "New lead"), ("s-1", "Phone Screen"), ("s-2", "Twice"), ("s-3", "Twice")]);
        let found = |text: &str| stage_of(&configuration("c", text, 1), &stages);
        assert_eq!(found("Phone Screen").unwrap().stage.id, "s-1");
        assert_eq!(found("lead-new").unwrap().stage.name, "New lead");
        assert_eq!(found("phone screen"), Err(StageProblem::NotFound));
        assert!(matches!(found("Twice"), Err(StageProblem::Ambiguous(both)) if both.len() == 2));
        assert_eq!(stage_of(&configuration("c", "Phone Screen", 1), &[]), Err(StageProblem::NotKnownYet));
    }

    #[test]
    fn a_renamed_stage_is_resolved_by_its_id() {
        let mut renamed = configuration("c", "Phone Screen", 1);
        renamed.status = Some(PadConfigurationStatus {
            stage: Some(ResolvedStage {
                id: "s-1".into(),
                named: "Phone Screen".into(),
                ..Default::default()
            }),
            ..Default::default()
        });
        let found =
            stage_of(&renamed, &stages(&[("s-1", "Phone Interview"), ("s-9", "Phone Screen")])).unwrap();
        assert_eq!((found.stage.id.as_str(), found.renamed), ("s-1", true));

        renamed.spec.stage = "Onsite".into();
        assert_eq!(stage_of(&renamed, &stages(&[("s-1", "Phone Interview")])), Err(StageProblem::NotFound));
    }

    #[test]
    fn the_older_configuration_takes_precedence_then_the_lower_name() {
        let stages = stages(&[("s-1", "Phone Screen")]);
        let (old, young, twin) = (
            configuration("z", "Phone Screen", 1),
            configuration("a", "s-1", 2),
            configuration("b", "s-1", 2),
        );
        let all = [old.clone(), young.clone(), twin.clone()];
        assert_eq!(conflict(&old, &all, &stages), None);
        assert_eq!(conflict(&young, &all, &stages).unwrap().name_any(), "z");
        assert_eq!(conflict(&twin, &[young.clone(), twin.clone()], &stages).unwrap().name_any(), "a");
        let mut other_tag = young.clone();
        other_tag.spec.tag = "Coderpad".into();
        assert_eq!(conflict(&other_tag, &all, &stages), None);
    }
}
