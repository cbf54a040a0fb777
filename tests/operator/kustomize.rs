//! Overlays of `deploy/kustomize`: equal to the output of the chart, and sufficient for the main job.

use serde_json::{Value, json};

use crate::chart::{Deployed, documents, render};
use crate::cluster::{Cluster, source};
use crate::environment::{Options, TestEnv};
use crate::privileges::used;

/// Returns the output of an overlay, without its Namespace.
async fn build(cluster: &Cluster, folder: &str) -> Vec<Value> {
    let text = cluster.kubectl(&["kustomize", folder], None).await.unwrap();
    documents(&text).into_iter().filter(|object| object["kind"] != "Namespace").collect()
}

/// Returns identity and contents of an object, without what only one of the tools adds, and in a fixed order.
fn plain(objects: Vec<Value>) -> Vec<(String, Value)> {
    let mut plain: Vec<_> = objects
        .into_iter()
        .map(|mut object| {
            if let Some(labels) = object["metadata"]["labels"].as_object_mut() {
                labels.retain(|label, _| {
                    !["helm.sh/chart", "app.kubernetes.io/managed-by"].contains(&label.as_str())
                });
            }
            if object["kind"] == "CustomResourceDefinition" {
                for field in ["labels", "annotations"] {
                    object["metadata"].as_object_mut().unwrap().remove(field);
                }
            }
            if let Some(environment) = object.pointer_mut("/spec/template/spec/containers/0/env") {
                let key = |variable: &Value| variable["name"].as_str().unwrap().to_owned();
                environment.as_array_mut().unwrap().sort_by_key(key);
            }
            let metadata = &object["metadata"];
            (format!("{} {} {}", object["kind"], metadata["namespace"], metadata["name"]), object)
        })
        .collect();
    plain.sort_by(|one, other| one.0.cmp(&other.0));
    plain
}

#[tokio::test(flavor = "multi_thread")]
async fn overlays_equal_the_rendered_chart() {
    let cluster = Cluster::shared().await;
    let image = json!({"repository": "pad-operator"});
    for (overlay, namespace, values) in [
        ("single-namespace", "hiring", json!({"image": image})),
        ("cluster-wide", "pad-operator", json!({"image": image, "clusterWide": true})),
    ] {
        let built = build(&cluster, &source(&format!("deploy/kustomize/overlays/{overlay}"))).await;
        let rendered = render(&cluster, "pad-operator", namespace, &values).await.unwrap();
        let (built, rendered) = (plain(built), plain(rendered));
        assert_eq!(
            built.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            rendered.iter().map(|(name, _)| name).collect::<Vec<_>>()
        );
        for ((name, one), (_, other)) in built.iter().zip(&rendered) {
            assert_eq!(one, other, "{overlay}: {name}");
        }
    }
}

/// As in docs/install.md: a user's kustomization over an overlay, with another namespace.
#[tokio::test(flavor = "multi_thread")]
async fn applied_overlay_supports_the_main_job() {
    for (overlay, name) in [("single-namespace", "kustomized"), ("cluster-wide", "kustomized-wide")] {
        let options = Options::new(name);
        let mut env = TestEnv::prepare(Cluster::start().await, &options).await;
        // kustomize accepts no absolute paths, but it follows symbolic links.
        let folder = env.cluster.plane.folder().join("overlay");
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(source("deploy"), env.cluster.plane.folder().join("deploy")).unwrap();
        let origins = [env.lever.origin(), env.interview.origin()];
        let add = origins.map(|origin| {
            json!({"op": "add", "path": "/spec/template/spec/containers/0/args/-",
                "value": format!("--allow-api-origin={origin}")})
        });
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "namespace": env.namespace, "resources": [format!("../deploy/kustomize/overlays/{overlay}")],
            "images": [{"name": "pad-operator", "newName": "registry.example.com/pad-operator"}],
            "patches": [{"target": {"kind": "Deployment"}, "patch": json!(add).to_string()}],
        });
        std::fs::write(folder.join("kustomization.yaml"), kustomization.to_string()).unwrap();

        let folder = folder.to_str().unwrap().to_owned();
        env.cluster.kubectl(&["apply", "--kustomize", &folder], None).await.unwrap();
        let objects = build(&env.cluster, &folder).await;
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(image, concat!("registry.example.com/pad-operator:", env!("CARGO_PKG_VERSION")));
        let user = Deployed::from_deployment(deployment).start(&mut env).await;
        env.create_resources(options).await;
        let candidate = env.candidate();
        env.enter(&candidate).await;
        env.wait_for_one_pad(&candidate).await;

        let (_, refused) = used(&env, &user).await;
        assert!(refused.is_empty(), "{refused:#?}");
        env.finish().await;
    }
}
