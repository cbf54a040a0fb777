//! Notes that helm prints after an installation: the next step for these values.

use serde_json::{Value, json};
use testkit::resources::merge;

use super::{CHART, RELEASE};
use crate::cluster::{Cluster, source};
use testkit::assert_snapshot;

async fn notes(cluster: &Cluster, values: &Value) -> String {
    let mut given = json!({"image": {"repository": "pad-operator"}, "crds": {"install": false}});
    merge(&mut given, values);
    let chart = source(CHART);
    let install = ["install", RELEASE, &chart, "--dry-run=client", "--namespace", "hiring", "--values=-"];
    let printed = cluster.run("helm", &install, Some(&given.to_string())).await.unwrap();
    printed.split_once("NOTES:\n").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_contain_the_next_step_for_the_values() {
    let cluster = Cluster::shared().await;
    let (no_address, paste, managed) =
        ("First: make the operator reachable", "Paste this URL", "must enable");
    let ingress = json!({"ingress": {"enabled": true, "host": "hooks.example.com"}});
    let mut all = String::new();
    for (values, printed, unsaid) in [
        (json!({}), vec![no_address, paste, "watches hiring."], vec![managed, "No replica"]),
        (ingress, vec![paste, "names no TLS certificate"], vec![no_address]),
        (
            json!({"publicURL": "hooks.example.com", "managedWebhooks": {"enabled": true}}),
            vec![managed, "mode: Managed"],
            vec![paste, no_address, "--from-file=lever-signing-token"],
        ),
        (json!({"clusterWide": true}), vec!["watches all namespaces."], vec![]),
        (json!({"namespaces": ["one", "two"]}), vec!["watches one, two.", "namespace: one}"], vec![]),
        (json!({"replicas": 0}), vec!["No replica runs"], vec![]),
        (json!({"crds": {"install": true}}), vec![paste], vec!["which this release does not install"]),
        (json!({"crds": {"install": false}}), vec!["which this release does not install"], vec![]),
    ] {
        let notes = notes(&cluster, &values).await;
        for text in printed {
            assert!(notes.contains(text), "the notes for {values} do not contain {text:?}:\n{notes}");
        }
        for text in unsaid {
            assert!(!notes.contains(text), "the notes for {values} contain {text:?}:\n{notes}");
        }
        assert!(!notes.contains("<no value>"), "{notes}");
        all.push_str(&format!("# {values}\n\n{}\n\n", notes.trim_end()));
    }
    assert_snapshot("chart-notes", all.trim_end());
}
