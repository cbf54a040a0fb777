//! Values that cannot work: helm rejects them with an instruction.

use serde_json::{Value, json};
use testkit::resources::merge;

use super::{CHART, RELEASE, render};
use crate::cluster::{Cluster, source};

/// Values, and the expected error of helm.
fn refused() -> Vec<(Value, &'static str)> {
    vec![
        // Names and types: checked by the schema.
        (json!({"replica": 3}), "additional properties 'replica' not allowed"),
        (json!({"ingress": {"hosts": ["a"]}}), "at '/ingress': additional properties 'hosts' not allowed"),
        (json!({"monitoring": {"monitor": {}}}), "at '/monitoring': additional properties"),
        (json!({"replicas": "two"}), "at '/replicas': got string, want integer"),
        (json!({"replicas": 21}), "at '/replicas': maximum: got 21, want 20"),
        (json!({"replicas": -1}), "at '/replicas': minimum: got -1, want 0"),
        (json!({"clusterWide": "yes"}), "at '/clusterWide': got string, want boolean"),
        (json!({"namespaces": "hiring"}), "at '/namespaces': got string, want array"),
        (json!({"namespaces": ["one", "one"]}), "at '/namespaces': items at 0 and 1 are equal"),
        (json!({"logFormat": "yaml"}), "at '/logFormat': value must be one of 'json', 'text'"),
        (
            json!({"image": {"pullPolicy": "Sometimes"}}),
            "value must be one of 'Always', 'IfNotPresent', 'Never'",
        ),
        (json!({"image": {"digest": "1234"}}), "at '/image/digest'"),
        (json!({"service": {"port": 0}}), "at '/service/port': minimum"),
        (json!({"service": {"type": "ExternalName"}}), "at '/service/type'"),
        (json!({"networkPolicy": {"apiServerPorts": ["https"]}}), "at '/networkPolicy/apiServerPorts/0'"),
        (json!({"httpRoute": {"parentRefs": [{}]}}), "missing property 'name'"),
        (
            json!({"monitoring": {"serviceMonitor": {"interval": "often"}}}),
            "at '/monitoring/serviceMonitor/interval'",
        ),
        (json!({"extraArgs": ["concurrency=3"]}), "at '/extraArgs/0'"),
        (json!({"extraEnv": [{"value": "x"}]}), "missing property 'name'"),
        (json!({"podLabels": {"number": 1}}), "at '/podLabels/number': got number, want string"),
        // Texts: checked by the templates, because the schema could only show its pattern.
        (
            json!({"image": {"repository": ""}}),
            "image.repository must be set: the image of pad-operator in your registry",
        ),
        (
            json!({"image": {"repository": "registry.example.com/pad-operator:1.0"}}),
            "Set the tag in image.tag",
        ),
        (json!({"publicURL": "hooks example com"}), "must be an address, such as https://hooks.example.com"),
        (
            json!({"publicURL": "ftp://hooks.example.com"}),
            "must be an address, such as https://hooks.example.com",
        ),
        (
            json!({"ingress": {"host": "https://hooks.example.com"}}),
            "ingress.host is \"https://hooks.example.com\", but must be a host name alone",
        ),
        (
            json!({"httpRoute": {"host": "hooks.example.com/x"}}),
            "httpRoute.host is \"hooks.example.com/x\", but must be a host name alone",
        ),
        (
            json!({"allowApiOrigins": ["https://a.example.com/v1"]}),
            "must be a list of schemes, hosts and ports without a path",
        ),
        (
            json!({"allowApiOrigins": ["a.example.com"], "networkPolicy": {"enabled": true}}),
            "must be a list of schemes, hosts and ports",
        ),
        (
            json!({"otlpEndpoint": "otel-collector:4317"}),
            "must be an address with its scheme, such as http://otel",
        ),
        (json!({"namespaces": ["*"]}), "for all of them set clusterWide"),
        // Invalid combinations.
        (
            json!({"clusterWide": true, "namespaces": ["one"]}),
            "clusterWide and namespaces exclude each other",
        ),
        (json!({"leaderElection": false}), "Set replicas to 1, or leaderElection to true"),
        (json!({"podDisruptionBudget": {"minAvailable": 2}}), "no node could be drained. Set it to 1"),
        (json!({"terminationGracePeriodSeconds": 20}), "terminationGracePeriodSeconds must be at least 50"),
        (json!({"preStopSleepSeconds": 30}), "terminationGracePeriodSeconds must be at least 75"),
        (json!({"ingress": {"enabled": true}}), "ingress.host must be set if ingress.enabled is true"),
        (json!({"httpRoute": {"enabled": true}}), "httpRoute.host must be set if httpRoute.enabled is true"),
        (
            json!({"httpRoute": {"enabled": true, "host": "a.example.com"}}),
            "httpRoute.parentRefs must name the Gateway",
        ),
        (
            json!({"ingress": {"enabled": true, "host": "a.example.com"}, "httpRoute": {"enabled": true,
            "host": "b.example.com", "parentRefs": [{"name": "public"}]}}),
            "Set it to the one that Lever calls",
        ),
        (
            json!({"managedWebhooks": {"enabled": true}}),
            "publicURL must be set if managedWebhooks.enabled is true",
        ),
        (
            json!({"serviceAccount": {"create": false}}),
            "serviceAccount.name must be set if serviceAccount.create is false",
        ),
        (
            json!({"monitoring": {"service": {"enabled": false}, "serviceMonitor": {"enabled": true}}}),
            "monitoring.service.enabled must be true",
        ),
        (
            json!({"networkPolicy": {"enabled": true}, "monitoring": {"serviceMonitor": {"enabled": true}}}),
            "networkPolicy.metricsFrom must name Prometheus",
        ),
        (json!({"extraArgs": ["--namespace=one"]}), "Set namespaces or clusterWide instead"),
        (json!({"extraArgs": ["--lease-namespace=one"]}), "which the chart sets itself. Remove it"),
        (
            json!({"extraEnv": [{"name": "PAD_OPERATOR_PUBLIC_URL", "value": "x"}]}),
            "extraEnv must not have PAD_OPERATOR_PUBLIC_URL",
        ),
    ]
}

/// Returns the error messages of the chart, as the texts between the placeholders.
fn messages() -> Vec<Vec<String>> {
    let code = std::fs::read_to_string(source(&format!("{CHART}/templates/_check.tpl"))).unwrap();
    let message = |line: &str| {
        let line = line.trim_start();
        let of_a_text = line.strip_prefix("(list \"").and_then(|line| line.split('"').rev().nth(1));
        let after_fail = line.strip_prefix("{{- fail ").and_then(|line| line.split('"').nth(1));
        of_a_text.or(after_fail).map(str::to_owned)
    };
    let piece = |piece: &str| piece.trim_start_matches(['d', 's', 'q']).to_owned();
    code.lines().filter_map(message).map(|text| text.split('%').map(piece).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_values_are_rejected_with_an_instruction() {
    let cluster = Cluster::shared().await;
    let (cases, mut errors) = (refused(), Vec::new());
    for (values, expected) in &cases {
        let mut given = json!({"image": {"repository": "registry.example.com/pad-operator"}});
        merge(&mut given, values);
        let error =
            render(&cluster, RELEASE, "hiring", &given).await.expect_err(&format!("{values} is accepted"));
        assert!(error.contains(expected), "{values}: {error}");
        errors.push(error);
    }
    let messages = messages();
    assert!(messages.len() > 15, "{messages:#?}");
    for message in &messages {
        let is_it = |error: &&String| message.iter().all(|piece| error.contains(piece.as_str()));
        assert!(errors.iter().any(|error| is_it(&error)), "no case above causes {message:?}");
    }
    println!("values: {} refused, all {} messages of the chart seen", cases.len(), messages.len());
}
