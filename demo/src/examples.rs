//! The files in `examples/`, with the few values that cannot be in a file: URLs and keys of the simulated services.

use anyhow::Context as _;
use serde_yaml_ng::{Mapping, Value};
use testkit::repository;
use testkit::resources::Keys;

/// Namespace of all examples.
pub(crate) const NAMESPACE: &str = "hiring";

/// LeverConnection of the examples.
pub(crate) const CONNECTION: &str = "leverconnection/acme";

/// PadConfiguration in `phone-screen.yaml`.
pub(crate) const LIVE_RULE: &str = "padconfiguration/phone-screen";

/// PadConfigurations of the examples.
pub(crate) const PHONE_SCREEN: &str = "phone-screen.yaml";
pub(crate) const TAKE_HOME: &str = "take-home.yaml";

/// Rule of an example PadConfiguration.
#[derive(Debug)]
pub(crate) struct Rule {
    pub stage: String,
    pub tag: String,
    pub question: Option<u64>,
    /// Tag that is added together with the link.
    pub ready: Option<String>,
    /// Tag that replaces `ready` when the interview is over.
    pub ended: Option<String>,
}

/// Returns `secrets.yaml` with the keys filled in.
pub(crate) fn secret(keys: &Keys) -> anyhow::Result<String> {
    let mut secret = read("secrets.yaml")?;
    let data = secret.get_mut("stringData").and_then(Value::as_mapping_mut);
    let keys = keys.values();
    for (name, value) in data.context("secrets.yaml has no stringData")? {
        let key = name.as_str().and_then(|name| keys[name].as_str());
        *value = key.with_context(|| format!("unknown key {name:?} in secrets.yaml"))?.into();
    }
    Ok(serde_yaml_ng::to_string(&secret)?)
}

/// Returns `connection.yaml` for these services, with a sync interval short enough to watch.
pub(crate) fn connection(lever: &str, interview: &str, interval: &str) -> anyhow::Result<String> {
    let mut connection = read("connection.yaml")?;
    set(&mut connection, &["spec", "lever", "url"], lever)?;
    set(&mut connection, &["spec", "interview", "url"], interview)?;
    set(&mut connection, &["spec", "sync", "interval"], interval)?;
    Ok(serde_yaml_ng::to_string(&connection)?)
}

/// Returns the rule of the PadConfiguration in this file.
pub(crate) fn rule(file: &str) -> anyhow::Result<Rule> {
    let configuration = read(file)?;
    let text = |field: &str| {
        let value = configuration["spec"].get(field).and_then(Value::as_str);
        value.map(str::to_owned).with_context(|| format!("{file} has no spec.{field}"))
    };
    let written = |tag: &str| {
        configuration["spec"]["writeBack"]["tags"].get(tag).and_then(Value::as_str).map(str::to_owned)
    };
    Ok(Rule {
        stage: text("stage")?,
        tag: text("tag")?,
        ready: written("ready"),
        ended: written("ended"),
        question: configuration["spec"].get("questionID").and_then(Value::as_u64),
    })
}

/// Returns the opportunity that `pad-by-hand.yaml` names.
pub(crate) fn opportunity_by_hand() -> anyhow::Result<String> {
    let pad = read("pad-by-hand.yaml")?;
    let id = pad["spec"]["opportunityID"].as_str();
    Ok(id.context("pad-by-hand.yaml has no spec.opportunityID")?.to_owned())
}

fn read(file: &str) -> anyhow::Result<Value> {
    let path = repository().join("examples").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_yaml_ng::from_str(&text).with_context(|| format!("{} is not YAML", path.display()))
}

fn set(object: &mut Value, path: &[&str], new: &str) -> anyhow::Result<()> {
    let mut place = object;
    for field in path {
        let fields =
            place.as_mapping_mut().with_context(|| format!("{} is not an object", path.join(".")))?;
        place = fields.entry((*field).into()).or_insert_with(|| Mapping::new().into());
    }
    *place = new.into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_creates_missing_parents_and_keeps_other_fields() {
        let mut object = serde_yaml_ng::from_str("spec: {lever: {url: x, key: k}}").unwrap();
        set(&mut object, &["spec", "lever", "url"], "y").unwrap();
        set(&mut object, &["spec", "sync", "interval"], "10s").unwrap();
        let expected: Value =
            serde_yaml_ng::from_str("spec: {lever: {url: y, key: k}, sync: {interval: 10s}}").unwrap();
        assert_eq!(object, expected);
        assert!(set(&mut object, &["spec", "lever", "url", "deeper"], "z").is_err());
    }
}
