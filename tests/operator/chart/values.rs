//! Matrix of values: the API server accepts the rendered chart for each of them, and it grants and exposes nothing more
//! than documented.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::resources::merge;

use super::{CHART, render};
use crate::cluster::{Cluster, source};
use crate::wait::eventually;

const NAMESPACE: &str = "hiring";

/// Values that some of the toggles require. They have no effect while the toggles are off.
fn always() -> Value {
    json!({
        "image": {"repository": "registry.example.com/pad-operator"},
        "publicURL": "https://hooks.example.com",
        "serviceAccount": {"name": "pads"},
        "ingress": {"host": "hooks.example.com"},
        "httpRoute": {"host": "hooks.example.com", "parentRefs": [{"name": "public", "namespace": "gateways"}]},
        "networkPolicy": {"metricsFrom": [{"namespaceSelector": {}}]},
    })
}

/// Returns the paths of booleans in values.yaml, such as `/ingress/enabled`.
fn toggles(values: &Value, path: &str) -> Vec<String> {
    match values {
        Value::Bool(_) => vec![path.to_owned()],
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, value)| toggles(value, &format!("{path}/{name}"))).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the values with one of them set, creating missing parents.
fn set(mut values: Value, path: &str, value: bool) -> Value {
    let nested = path.rsplit('/').filter(|name| !name.is_empty());
    merge(&mut values, &nested.fold(json!(value), |inner, name| json!({name: inner})));
    values
}

/// Returns the sets of values: each toggle flipped, all on, all off, and other variants.
fn matrix(defaults: &Value) -> Vec<(String, Value)> {
    let toggles = toggles(defaults, "");
    assert!(toggles.len() > 10, "{toggles:?}");
    let with = |more: Value| {
        let mut values = always();
        merge(&mut values, &more);
        values
    };
    let mut sets: Vec<_> = toggles
        .iter()
        .map(|path| {
            let was_on = defaults.pointer(path).unwrap().as_bool().unwrap();
            // One replica needs no Lease, several do.
            let start = if path == "/leaderElection" { with(json!({"replicas": 1})) } else { always() };
            (format!("{path} flipped"), set(start, path, !was_on))
        })
        .collect();
    let all = |value: bool, start: Value| toggles.iter().fold(start, |values, path| set(values, path, value));
    sets.push(("all on".into(), all(true, always())));
    sets.push(("all off".into(), all(false, with(json!({"replicas": 1})))));
    let others = json!({
        "the defaults": {},
        "no replica": {"replicas": 0},
        "one replica": {"replicas": 1, "preStopSleepSeconds": 0},
        "many replicas": {"replicas": 20, "podDisruptionBudget": {"minAvailable": 19}},
        "several namespaces": {"namespaces": ["one", "two"]},
        "several namespaces and managed webhooks": {"namespaces": ["one", "two"],
            "managedWebhooks": {"enabled": true}},
        "other names": {"fullnameOverride": "the-pads", "serviceAccount": {"name": "", "annotations": {"a": "b"}}},
        "long names": {"nameOverride": "a-name-of-sixty-three-letters-of-which-the-last-is-here-1234567",
            "networkPolicy": {"enabled": true}, "monitoring": {"serviceMonitor": {"enabled": true}}},
        "an image by its digest": {"image": {"digest": format!("sha256:{}", "0".repeat(64)),
            "pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]}},
        "addresses": {"allowApiOrigins": ["http://lever.example.com:9001", "https://interview.example.com"],
            "otlpEndpoint": "http://otel-collector.monitoring:4317", "networkPolicy": {"enabled": true,
            "webhooksFrom": [{"podSelector": {}}], "extraEgress": [{"ports": [{"port": 3128}]}]}},
        "all options of Pods": {"podAnnotations": {"a": "b"}, "podLabels": {"a": "b"},
            "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}}, "priorityClassName": "important",
            "topologySpreadConstraints": [{"topologyKey": "rack", "maxSkew": 1,
            "whenUnsatisfiable": "DoNotSchedule"}], "extraArgs": ["--concurrency=64"],
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "resources": {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}}},
        "ways in": {"service": {"type": "NodePort", "port": 8443, "annotations": {"a": "b"}},
            "ingress": {"enabled": true, "className": "nginx", "tlsSecretName": "hooks", "annotations": {"a": "b"}},
            "httpRoute": {"enabled": true, "annotations": {"a": "b"}}},
    });
    let others = others.as_object().unwrap().clone().into_iter();
    sets.extend(others.map(|(name, values)| (name, with(values))));
    sets
}

#[tokio::test(flavor = "multi_thread")]
async fn every_set_of_values_is_accepted_and_exposes_only_intended_paths() {
    let cluster = Cluster::with_third_party_crds().await;
    for namespace in [NAMESPACE, "one", "two"] {
        cluster.kubectl(&["create", "namespace", namespace], None).await.unwrap();
    }
    let (enforce, warn) = ("pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/warn");
    let restricted = [enforce, warn].map(|mode| format!("{mode}=restricted"));
    let label = ["label", "namespace", NAMESPACE, &restricted[0], &restricted[1]];
    cluster.kubectl(&label, None).await.unwrap();
    cluster.kubectl(&["create", "priorityclass", "important", "--value=1000"], None).await.unwrap();
    eventually("Pods can be created", async || {
        cluster.kubectl(&["get", "serviceaccount", "default", "--namespace", NAMESPACE], None).await
    })
    .await;

    let defaults = std::fs::read_to_string(source(&format!("{CHART}/values.yaml"))).unwrap();
    let defaults: Value = serde_yaml_ng::from_str(&defaults).unwrap();
    let (mut sets, mut objects) = (0, 0);
    let mut kinds = BTreeSet::new();
    for (name, given) in matrix(&defaults) {
        let rendered = render(&cluster, "pads", NAMESPACE, &given)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": rendered}).to_string();
        let apply = ["apply", "--dry-run=server", "--warnings-as-errors", "--filename=-"];
        let taken = cluster.kubectl(&apply, Some(&list)).await;
        let taken = taken.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(taken.lines().count(), rendered.len(), "{name}: {taken}");
        check_pod_security(&cluster, &name, &rendered).await;

        let mut values = defaults.clone();
        merge(&mut values, &given);
        check_ingress_paths(&name, &rendered);
        check_permissions(&name, &values, &rendered);
        keeps_crds(&name, &values, &rendered);
        check_network_policies(&name, &rendered);
        sets += 1;
        objects += rendered.len();
        kinds.extend(rendered.iter().map(|object| object["kind"].as_str().unwrap().to_owned()));
    }
    println!("values: {sets} sets, {objects} objects taken, kinds {kinds:?}");
    for kind in ["Ingress", "HTTPRoute", "NetworkPolicy", "PodDisruptionBudget", "ServiceMonitor"] {
        assert!(kinds.contains(kind), "no set contains {kind}");
    }
}

fn objects_of_kind<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// The API server enforces the restricted Pod security level only for Pods themselves.
async fn check_pod_security(cluster: &Cluster, name: &str, objects: &[Value]) {
    let deployment = objects_of_kind(objects, "Deployment").next().unwrap();
    let mut pod = deployment["spec"]["template"].clone();
    let account = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "namespace": NAMESPACE},
        "spec": {"serviceAccountName": "default"}});
    merge(&mut pod, &account);
    let create = ["create", "--dry-run=server", "--filename=-"];
    let made = cluster.kubectl(&create, Some(&pod.to_string())).await;
    made.unwrap_or_else(|error| panic!("{name}: {error}"));
    if name == "the defaults" {
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let made = cluster.kubectl(&create, Some(&pod.to_string())).await;
        assert!(made.unwrap_err().contains("restricted"), "other Pods are rejected");
    }
}

/// Ingress and HTTPRoute forward the webhooks' path to the webhooks' port, and nothing else.
fn check_ingress_paths(name: &str, objects: &[Value]) {
    let services: Vec<_> = objects_of_kind(objects, "Service").collect();
    let webhooks: Vec<_> =
        services.iter().filter(|service| service["spec"]["ports"][0]["targetPort"] == "webhooks").collect();
    assert_eq!(webhooks.len(), 1, "{name}");
    let (service, port) = (&webhooks[0]["metadata"]["name"], &webhooks[0]["spec"]["ports"][0]);
    assert_eq!(webhooks[0]["spec"]["ports"].as_array().unwrap().len(), 1, "{name}");
    for other in
        services.iter().filter(|service| service["metadata"]["name"] != webhooks[0]["metadata"]["name"])
    {
        assert_eq!(
            other["spec"]["clusterIP"], "None",
            "{name}: metrics must not be exposed outside of the cluster"
        );
    }
    let leads_to = |backend: &Value| (&backend["name"] == service).then_some(());
    for ingress in objects_of_kind(objects, "Ingress") {
        for rule in ingress["spec"]["rules"].as_array().unwrap() {
            let path = json!([{"path": "/webhooks/lever", "pathType": "Prefix",
                "backend": {"service": {"name": service, "port": {"name": port["name"]}}}}]);
            assert_eq!(rule["http"]["paths"], path, "{name}");
        }
        assert!(ingress["spec"]["defaultBackend"].is_null(), "{name}");
    }
    for route in objects_of_kind(objects, "HTTPRoute") {
        for rule in route["spec"]["rules"].as_array().unwrap() {
            let matches = json!([{"path": {"type": "PathPrefix", "value": "/webhooks/lever"}}]);
            assert_eq!(rule["matches"], matches, "{name}");
            for backend in rule["backendRefs"].as_array().unwrap() {
                leads_to(backend).unwrap_or_else(|| panic!("{name}: {backend}"));
                assert_eq!(backend["port"], port["port"], "{name}");
            }
        }
    }
    let deployment = objects_of_kind(objects, "Deployment").next().unwrap();
    let pod = &deployment["spec"]["template"]["metadata"]["labels"];
    let selectors = services.iter().map(|service| &service["spec"]["selector"]);
    let policies =
        objects_of_kind(objects, "NetworkPolicy").map(|policy| &policy["spec"]["podSelector"]["matchLabels"]);
    for selector in selectors.chain(policies) {
        let selector = selector.as_object().unwrap();
        assert!(!selector.is_empty() && selector.iter().all(|(label, value)| pod[label] == *value), "{name}");
    }
}

/// Roles exist only in the watched namespaces, and may write Secrets only where that is enabled.
fn check_permissions(name: &str, values: &Value, objects: &[Value]) {
    let is_on = |path: &str| values.pointer(path).unwrap() == true;
    let mut expected: Vec<&str> =
        values["namespaces"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    if expected.is_empty() && !is_on("/clusterWide") {
        expected.push(NAMESPACE);
    }
    if !is_on("/rbac/create") {
        expected.clear();
    }
    let is_for_the_lease = |role: &&Value| role["rules"][0]["resources"] == json!(["leases"]);
    let lease = objects_of_kind(objects, "Role").filter(is_for_the_lease).count();
    assert_eq!(lease, usize::from(is_on("/rbac/create") && is_on("/leaderElection")), "{name}");
    let roles = objects_of_kind(objects, "Role").filter(|role| !is_for_the_lease(role));
    let found: Vec<&str> = roles.map(|role| role["metadata"]["namespace"].as_str().unwrap()).collect();
    assert_eq!(found, expected, "{name}");
    let for_people = |role: &&Value| {
        let labels = role["metadata"]["labels"].as_object().unwrap();
        labels.keys().any(|label| label.contains("aggregate-to"))
    };
    let wide = objects_of_kind(objects, "ClusterRole").filter(|role| !for_people(role)).count();
    assert_eq!(wide, usize::from(is_on("/clusterWide") && is_on("/rbac/create")), "{name}");
    assert_eq!(objects_of_kind(objects, "ClusterRoleBinding").count(), wide, "{name}");
    assert_eq!(
        objects_of_kind(objects, "ClusterRole").count() - wide,
        2 * usize::from(is_on("/rbac/aggregate")),
        "{name}"
    );

    for role in objects_of_kind(objects, "Role").chain(objects_of_kind(objects, "ClusterRole")) {
        let mut verbs = BTreeSet::new();
        for rule in role["rules"].as_array().unwrap() {
            let of = |field: &str| rule[field].as_array().unwrap().iter().map(|one| one.as_str().unwrap());
            for field in ["apiGroups", "resources", "verbs"] {
                assert!(!of(field).any(|one| one == "*"), "{name}: {rule}");
            }
            if of("resources").any(|resource| resource == "secrets") {
                verbs.extend(of("verbs"));
            }
        }
        let writes = verbs.iter().any(|verb| !["get", "list", "watch"].contains(verb));
        let may_write = is_on("/managedWebhooks/enabled") && !verbs.is_empty();
        assert_eq!(writes, may_write, "{name}: {verbs:?}");
    }
    for binding in
        objects_of_kind(objects, "RoleBinding").chain(objects_of_kind(objects, "ClusterRoleBinding"))
    {
        let account = &objects_of_kind(objects, "Deployment").next().unwrap()["spec"]["template"]["spec"];
        let subject = json!([{"kind": "ServiceAccount", "name": account["serviceAccountName"],
            "namespace": NAMESPACE}]);
        assert_eq!(binding["subjects"], subject, "{name}");
    }
}

fn keeps_crds(name: &str, values: &Value, objects: &[Value]) {
    let crds: Vec<_> = objects_of_kind(objects, "CustomResourceDefinition").collect();
    assert_eq!(crds.len(), if values["crds"]["install"] == true { 3 } else { 0 }, "{name}");
    for crd in crds {
        let kept = crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep";
        assert_eq!(json!(kept), values["crds"]["keep"], "{name}");
    }
}

/// Metrics are only accessible to the named clients, and no other ports are reachable.
fn check_network_policies(name: &str, objects: &[Value]) {
    for policy in objects_of_kind(objects, "NetworkPolicy") {
        let rules = |direction: &str| policy["spec"][direction].as_array().unwrap().clone();
        for rule in rules("ingress") {
            let is_for_all = rule["from"].is_null();
            assert!(!is_for_all || rule["ports"][0]["port"] == "webhooks", "{name}: {rule}");
        }
        for rule in rules("egress") {
            let ports = rule["ports"].as_array().unwrap();
            assert!(ports.iter().all(|port| port["port"].is_number()), "{name}: {rule}");
        }
        let deployment = objects_of_kind(objects, "Deployment").next().unwrap();
        let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
        let reached = policy["spec"]["egress"].to_string();
        for port in ["9001", "4317"].iter().filter(|port| arguments.contains(&format!(":{port}\""))) {
            assert!(reached.contains(port), "{name}: {port} is in {arguments}, but cannot be reached");
        }
    }
}

/// The schema and values.yaml describe the same names.
#[test]
fn every_value_is_described_and_in_the_schema() {
    let text = std::fs::read_to_string(source(&format!("{CHART}/values.yaml"))).unwrap();
    let schema = std::fs::read_to_string(source(&format!("{CHART}/values.schema.json"))).unwrap();
    let values: Value = serde_yaml_ng::from_str(&text).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    same_names("", &values, &schema);

    let lines: Vec<_> = text.lines().collect();
    let mut described = 0;
    for (number, line) in lines.iter().enumerate() {
        let Some((_, value)) = line.split_once(':').filter(|_| !line.trim_start().starts_with('#')) else {
            continue;
        };
        if value.trim().is_empty() {
            continue; // Its contents are described.
        }
        assert!(lines[number - 1].trim_start().starts_with("# "), "not described: {line}");
        described += 1;
    }
    println!("values.yaml: {described} values, all described");
}

fn same_names(path: &str, values: &Value, schema: &Value) {
    let Some(fields) = values.as_object().filter(|fields| !fields.is_empty()) else { return };
    // Any contents are allowed here, such as the resources of a container.
    if schema["additionalProperties"] != false || path == "/resources" {
        return;
    }
    let known = schema["properties"].as_object().unwrap();
    let names: BTreeSet<_> = fields.keys().collect();
    let in_schema: BTreeSet<_> = known.keys().filter(|name| *name != "global").collect();
    assert_eq!(names, in_schema, "{path}");
    for (name, value) in fields {
        same_names(&format!("{path}/{name}"), value, &known[name]);
    }
}
