//! Examples for Flux and Argo CD: an API server with their CustomResourceDefinitions accepts each manifest, the order
//! of the steps is correct, and the Secrets are those that the connection names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::chart::{CHART, documents, render};
use crate::cluster::{Cluster, source};

const FOLDER: &str = "examples/gitops";

/// Returns the objects in a file of the examples, such as `flux/operator.yaml`.
pub fn gitops(file: &str) -> Vec<Value> {
    documents(&std::fs::read_to_string(source(&format!("{FOLDER}/{file}"))).unwrap())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn api_server_accepts_every_example() {
    let cluster = Cluster::with_third_party_crds().await;
    for namespace in ["hiring", "flux-system", "argocd"] {
        cluster.kubectl(&["create", "namespace", namespace], None).await.unwrap();
    }
    let (mut taken, mut kinds) = (0, BTreeMap::<String, usize>::new());
    for file in files(Path::new(&source("examples"))) {
        let objects = documents(&std::fs::read_to_string(&file).unwrap());
        assert!(!objects.is_empty(), "{file:?}");
        let apply = ["apply", "--dry-run=server", "--warnings-as-errors", "--validate=strict", "--filename"];
        let printed = cluster.kubectl(&[&apply[..], &[file.to_str().unwrap()]].concat(), None).await;
        let printed = printed.unwrap_or_else(|error| panic!("{file:?}: {error}"));
        assert_eq!(printed.lines().count(), objects.len(), "{file:?}: {printed}");
        taken += objects.len();
        for object in objects {
            *kinds.entry(object["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    println!("examples: {taken} objects taken: {kinds:?}");
    for kind in
        ["HelmRelease", "Kustomization", "GitRepository", "Application", "ExternalSecret", "SealedSecret"]
    {
        assert!(kinds.contains_key(kind), "{kinds:?}");
    }
}

/// Checks the order and the sources of the steps.
const APPLY_ORDER: [&str; 4] =
    ["pad-operator", "hiring-secrets", "hiring-connection", "hiring-configurations"];

#[test]
fn flux_waits_for_each_step_before_the_next() {
    let kustomizations = gitops("flux/kustomizations.yaml");
    let names: Vec<_> = kustomizations.iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, APPLY_ORDER);
    for (place, one) in kustomizations.iter().enumerate() {
        assert_eq!(one["spec"]["wait"], true, "{one:#}");
        let before = place.checked_sub(1).map(|before| json!([{"name": APPLY_ORDER[before]}]));
        assert_eq!(one["spec"]["dependsOn"], before.unwrap_or(Value::Null));
    }
}

#[test]
fn argo_cd_waits_for_each_step_before_the_next() {
    for (wave, step) in APPLY_ORDER.iter().enumerate() {
        let application = &gitops(&format!("argocd/applications/{step}.yaml"))[0];
        assert_eq!(application["metadata"]["name"], *step);
        let annotations = &application["metadata"]["annotations"];
        assert_eq!(annotations["argocd.argoproj.io/sync-wave"], wave.to_string());
    }
    let settings = gitops("argocd/argocd-cm.yaml")[0]["data"]["resource.customizations"].clone();
    let settings: Value = serde_yaml_ng::from_str(settings.as_str().unwrap()).unwrap();
    assert!(
        settings["argoproj.io/Application"]["health.lua"].is_string(),
        "waves wait only for resources with a health check"
    );
}

/// Both variants create the Secret of `examples/secrets.yaml`, and it contains the keys that the connection names.
#[test]
fn secrets_match_the_references_of_the_connection() {
    let read = |file: &str| documents(&std::fs::read_to_string(source(file)).unwrap()).remove(0);
    let (plain, connection) = (read("examples/secrets.yaml"), read("examples/connection.yaml"));
    let mut keys: Vec<_> = plain["stringData"].as_object().unwrap().keys().cloned().collect();
    keys.sort();
    let external = gitops("secrets/external-secret.yaml").remove(0);
    let sealed = gitops("secrets/sealed-secret.yaml").remove(0);
    let names = [&external["spec"]["target"], &sealed["spec"]["template"]["metadata"], &plain["metadata"]];
    for named in names {
        assert_eq!(named["name"], connection["spec"]["lever"]["apiKeySecretRef"]["name"]);
    }
    let data = external["spec"]["data"].as_array().unwrap().iter();
    let mut of_external: Vec<_> = data.map(|one| one["secretKey"].as_str().unwrap().to_owned()).collect();
    of_external.sort();
    let mut of_sealed: Vec<_> =
        sealed["spec"]["encryptedData"].as_object().unwrap().keys().cloned().collect();
    of_sealed.sort();
    assert_eq!((&of_external, &of_sealed), (&keys, &keys));
    let spec = &connection["spec"];
    let references =
        ["/lever/apiKeySecretRef", "/interview/apiKeySecretRef", "/webhook/signingTokenSecretRef"];
    for reference in references.map(|path| spec.pointer(path).unwrap()) {
        assert!(keys.iter().any(|key| reference["key"] == *key), "{reference}");
    }
}

/// The chart accepts the values in both examples.
#[tokio::test(flavor = "multi_thread")]
async fn chart_accepts_the_values_of_the_examples() {
    let cluster = Cluster::shared().await;
    let release = gitops("flux/operator.yaml").into_iter().find(|one| one["kind"] == "HelmRelease").unwrap();
    assert_eq!(release["spec"]["chart"]["spec"]["chart"], CHART);
    let application = &gitops("argocd/applications/pad-operator.yaml")[0]["spec"]["source"];
    assert_eq!(application["path"], CHART);
    for values in [&release["spec"]["values"], &application["helm"]["valuesObject"]] {
        let objects = render(&cluster, "pad-operator", "hiring", values).await.unwrap();
        assert!(objects.iter().any(|object| object["kind"] == "Ingress"));
    }
}
