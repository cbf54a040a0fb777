{{/*
Rejects values that cannot work or would do harm, alone or in combination. Each message describes the fix. The schema has
already rejected wrong names and types.
*/}}
{{- define "pad-operator.check" -}}
{{- $v := .Values -}}
{{- $replicas := int $v.replicas -}}

{{- /* Not in the schema, because its message would only contain the pattern. */ -}}
{{- $host := "[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?" -}}
{{- $origin := printf `https?://(%s|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?` $host -}}
{{- $texts := list
  (list "image.repository" $v.image.repository `[a-z0-9]([a-zA-Z0-9._/-]|:[0-9]+/)*` "registry and name of the image, such as registry.example.com/pad-operator. Set the tag in image.tag, and the digest in image.digest")
  (list "publicURL" $v.publicURL (printf "(https?://)?%s(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?" $host) "an address, such as https://hooks.example.com")
  (list "ingress.host" $v.ingress.host "[a-z0-9]([-a-z0-9.]*[a-z0-9])?" "a host name alone, such as hooks.example.com")
  (list "httpRoute.host" $v.httpRoute.host "[a-z0-9]([-a-z0-9.]*[a-z0-9])?" "a host name alone, such as hooks.example.com")
  (list "otlpEndpoint" $v.otlpEndpoint (printf "%s(/[^ ]*)?" $origin) "an address with its scheme, such as http://otel-collector.monitoring:4318")
-}}
{{- range $v.allowApiOrigins -}}
{{- $texts = append $texts (list "allowApiOrigins" . $origin "a list of schemes, hosts and ports without a path, such as https://lever-proxy.example.com") -}}
{{- end -}}
{{- range $v.namespaces -}}
{{- $texts = append $texts (list "namespaces" . "[a-z0-9]([-a-z0-9]*[a-z0-9])?" "a list of names of namespaces, such as [hiring]; for all of them set clusterWide") -}}
{{- end -}}
{{- range $text := $texts -}}
{{- $value := index $text 1 -}}
{{- if and $value (not (regexMatch (printf "^(%s)$" (index $text 2)) $value)) -}}
{{- fail (printf "%s is %q, but must be %s" (index $text 0) $value (index $text 3)) -}}
{{- end -}}
{{- end -}}

{{- if and $v.clusterWide $v.namespaces -}}
{{- fail "clusterWide and namespaces exclude each other: with clusterWide all namespaces are watched. Remove one of them" -}}
{{- end -}}

{{- if and (gt $replicas 1) (not $v.leaderElection) -}}
{{- fail (printf "leaderElection must be true for %d replicas: without it, each replica would create the pads. Set replicas to 1, or leaderElection to true" $replicas) -}}
{{- end -}}

{{- $minAvailable := int $v.podDisruptionBudget.minAvailable -}}
{{- if and $v.podDisruptionBudget.enabled (gt $replicas 1) (ge $minAvailable $replicas) -}}
{{- fail (printf "podDisruptionBudget.minAvailable must be less than replicas: with %d of %d no node could be drained. Set it to %d, or set podDisruptionBudget.enabled to false" $minAvailable $replicas (sub $replicas 1)) -}}
{{- end -}}

{{- /* Longer than the work in flight can take (40 s). */ -}}
{{- $needed := add $v.preStopSleepSeconds 45 | int -}}
{{- if lt (int $v.terminationGracePeriodSeconds) $needed -}}
{{- fail (printf "terminationGracePeriodSeconds must be at least %d: preStopSleepSeconds plus 45 seconds to finish the creation of a pad" $needed) -}}
{{- end -}}

{{- if and $v.ingress.enabled (not $v.ingress.host) -}}
{{- fail "ingress.host must be set if ingress.enabled is true, such as hooks.example.com" -}}
{{- end -}}
{{- if $v.httpRoute.enabled -}}
{{- if not $v.httpRoute.host -}}
{{- fail "httpRoute.host must be set if httpRoute.enabled is true, such as hooks.example.com" -}}
{{- end -}}
{{- if not $v.httpRoute.parentRefs -}}
{{- fail "httpRoute.parentRefs must name the Gateway if httpRoute.enabled is true, such as [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and $v.ingress.enabled (ne $v.ingress.host $v.httpRoute.host) (not $v.publicURL) -}}
{{- fail "publicURL must be set: ingress.host and httpRoute.host differ, and Lever calls one of them. Set it to the one that Lever calls" -}}
{{- end -}}
{{- end -}}

{{- if and $v.managedWebhooks.enabled (not (include "pad-operator.publicURL" .)) -}}
{{- fail "publicURL must be set if managedWebhooks.enabled is true: the operator registers it in Lever, such as https://hooks.example.com. Set it, or enable ingress or httpRoute" -}}
{{- end -}}

{{- if $v.monitoring.serviceMonitor.enabled -}}
{{- if not $v.monitoring.service.enabled -}}
{{- fail "monitoring.service.enabled must be true if monitoring.serviceMonitor.enabled is true: the ServiceMonitor selects that Service" -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.metricsFrom) -}}
{{- fail "networkPolicy.metricsFrom must name Prometheus if monitoring.serviceMonitor.enabled and networkPolicy.enabled are true, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]" -}}
{{- end -}}
{{- end -}}

{{- $owned := dict "webhook-address" "" "admin-address" "" "public-url" "publicURL" "namespace" "namespaces or clusterWide" "leader-election" "leaderElection" "lease-namespace" "" "allow-api-origin" "allowApiOrigins" "log-format" "logFormat" "otlp-endpoint" "otlpEndpoint" -}}
{{- range $argument := $v.extraArgs -}}
{{- $flag := regexFind "^--[a-z-]+" $argument | trimPrefix "--" -}}
{{- if hasKey $owned $flag -}}
{{- fail (printf "extraArgs must not have --%s, which the chart sets itself. %s" $flag (ternary (printf "Set %s instead" (get $owned $flag)) "Remove it" (ne (get $owned $flag) ""))) -}}
{{- end -}}
{{- end -}}
{{- range $variable := $v.extraEnv -}}
{{- if or (eq $variable.name "RUST_LOG") (hasPrefix "PAD_OPERATOR_" $variable.name) -}}
{{- fail (printf "extraEnv must not have %s: set logLevel, or the value or extraArgs of the flag, instead" $variable.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
