{{/*
Rights in the namespaces that are served: one cluster role, or a role in each of them.

`name` is what the roles and the service account are called, `account` the latter if it is called differently, `rules` what is granted,
`labels` and `annotations` are of each object.
*/}}
{{- define "revoiceit-operator.rightsInScope" -}}
{{- $part := . }}
{{- range $namespace := .root.Values.scope.namespaces | default (list "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ if $namespace }}Role{{ else }}ClusterRole{{ end }}
{{- include "revoiceit-operator.rightsMeta" (dict "part" $part "namespace" $namespace) }}
rules:
{{ $part.rules }}
{{- include "revoiceit-operator.binding" (dict "part" $part "namespace" $namespace) }}
{{- end }}
{{- end -}}

{{/* Rights in the release's own namespace. */}}
{{- define "revoiceit-operator.rightsAtHome" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
{{- include "revoiceit-operator.rightsMeta" (dict "part" . "namespace" .root.Release.Namespace) }}
rules:
{{ .rules }}
{{- include "revoiceit-operator.binding" (dict "part" . "namespace" .root.Release.Namespace) }}
{{- end -}}

{{- define "revoiceit-operator.binding" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ if .namespace }}RoleBinding{{ else }}ClusterRoleBinding{{ end }}
{{- include "revoiceit-operator.rightsMeta" . }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ if .namespace }}Role{{ else }}ClusterRole{{ end }}
  name: {{ .part.name }}
subjects:
- kind: ServiceAccount
  name: {{ .part.account }}
  namespace: {{ .part.root.Release.Namespace }}
{{- end -}}

{{- define "revoiceit-operator.rightsMeta" }}
metadata:
  name: {{ .part.name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- .part.labels | nindent 4 }}
  {{- with .part.annotations }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
{{- end -}}
