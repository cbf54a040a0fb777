{{/* The names of the release's resources, short enough for suffixes. */}}
{{- define "pad-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The names of cluster-scoped resources, which two releases must not share. */}}
{{- define "pad-operator.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "pad-operator.fullname" .) -}}
{{- end -}}

{{- define "pad-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pad-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "pad-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "pad-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "pad-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name must be set if serviceAccount.create is false: the name of the existing ServiceAccount for the operator" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "pad-operator.image" -}}
{{- $repository := required "image.repository must be set: the image of pad-operator in your registry, such as registry.example.com/pad-operator" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The base of status.webhookURL; may be empty. */}}
{{- define "pad-operator.publicURL" -}}
{{- if .Values.publicURL -}}
{{- .Values.publicURL -}}
{{- else if .Values.ingress.enabled -}}
{{- printf "https://%s" .Values.ingress.host -}}
{{- else if .Values.httpRoute.enabled -}}
{{- printf "https://%s" .Values.httpRoute.host -}}
{{- end -}}
{{- end -}}

{{/* The watched namespaces as a JSON list; empty if all are watched. */}}
{{- define "pad-operator.namespaces" -}}
{{- if .Values.clusterWide -}}
[]
{{- else -}}
{{- default (list .Release.Namespace) .Values.namespaces | toJson -}}
{{- end -}}
{{- end -}}

{{/* The rights of the operator in the watched namespaces: exactly the verbs that it uses. */}}
{{- define "pad-operator.rules" -}}
- apiGroups: [padoperator.dev]
  resources: [leverconnections]
  verbs: [get, list, watch, patch]
- apiGroups: [padoperator.dev]
  resources: [padconfigurations]
  verbs: [get, list, watch]
- apiGroups: [padoperator.dev]
  resources: [pads]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [padoperator.dev]
  resources: [leverconnections/status, padconfigurations/status, pads/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- if .Values.managedWebhooks.enabled }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* The ports of the API server, of both services and of the other addresses in the values, as a JSON list. */}}
{{- define "pad-operator.egressPorts" -}}
{{- $ports := concat (list 443) .Values.networkPolicy.apiServerPorts -}}
{{- range prepend .Values.allowApiOrigins .Values.otlpEndpoint -}}
{{- $port := regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" -}}
{{- if $port -}}
{{- $ports = append $ports $port -}}
{{- else if hasPrefix "http:" . -}}
{{- $ports = append $ports 80 -}}
{{- end -}}
{{- end -}}
{{- $unique := list -}}
{{- range $ports -}}{{- $unique = append $unique (int .) -}}{{- end -}}
{{- $unique | uniq | toJson -}}
{{- end -}}
