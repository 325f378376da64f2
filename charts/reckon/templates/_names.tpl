{{/* Names and labels, each made in one place. */}}

{{/* The release's name, with `reckon` in it; room is left for suffixes. */}}
{{- define "reckon.name" -}}
{{- if contains "reckon" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-reckon" (.Release.Name | trunc 33 | trimSuffix "-") -}}
{{- end -}}
{{- end }}

{{- define "reckon.operator" -}}
{{ include "reckon.name" . }}-operator
{{- end }}

{{- define "reckon.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "reckon.operator" .) }}
{{- end }}

{{/* Cluster-wide objects carry the namespace too: two releases may share a name. */}}
{{- define "reckon.clusterWide" -}}
{{ .Release.Namespace }}-{{ include "reckon.operator" . }}
{{- end }}

{{- define "reckon.selector" -}}
app.kubernetes.io/name: reckon-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "reckon.labels" -}}
{{ include "reckon.selector" . }}
app.kubernetes.io/part-of: reckon
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What the operator does in the namespaces it looks after, and nothing else. */}}
{{- define "reckon.rules" -}}
- apiGroups: [reckon.dev]
  resources: [eventstores, subscriptions]
  verbs: [get, list, watch, patch]
- apiGroups: [reckon.dev]
  resources: [eventstores/status, subscriptions/status]
  verbs: [get, patch]
# To own objects in a way that blocks the deletion of their owner.
- apiGroups: [reckon.dev]
  resources: [eventstores/finalizers, subscriptions/finalizers]
  verbs: [update]
# Deployments deliver to the sinks of subscriptions.
- apiGroups: [apps]
  resources: [statefulsets, deployments]
  verbs: [get, list, watch, create, patch, delete]
# To start a sink anew when a secret that its subscription names has changed. One by one and by name: neither listed nor
# watched, so what no subscription names is never read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [""]
  resources: [pods, persistentvolumeclaims]
  verbs: [get, list, watch, patch, delete]
# Applied and deleted by name, never read.
- apiGroups: [""]
  resources: [services, configmaps, serviceaccounts]
  verbs: [create, patch, delete]
# Read to delete only what is the store's own.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
