{{/* What is installed is called so. A release called revoiceit-operator has the names of deploy/kustomize. */}}
{{- define "revoiceit-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "revoiceit-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "revoiceit-operator.fullname" .) -}}
{{- end -}}

{{/*
What the pods are selected by. It is what deploy/kustomize has, without the release: there is one operator in a namespace, with one
lease, and an installation by other means can be taken over as it runs.
*/}}
{{- define "revoiceit-operator.selector" -}}
app.kubernetes.io/name: revoiceit-operator
{{- end -}}

{{/* Labels of everything; `name` is what the object is part of. */}}
{{- define "revoiceit-operator.labelsNamed" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "revoiceit-operator.labels" -}}
{{- include "revoiceit-operator.labelsNamed" (dict "root" . "name" "revoiceit-operator") -}}
{{- end -}}

{{- define "revoiceit-operator.drainLabels" -}}
{{- include "revoiceit-operator.labelsNamed" (dict "root" . "name" "revoiceit-operator-drain") -}}
{{- end -}}

{{- define "revoiceit-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Ports of URLs: the Revoiceit API's. */}}
{{- define "revoiceit-operator.apiPort" -}}
{{- $stated := regexFind ":[0-9]+/?$" .Values.api.url | trimAll ":/" -}}
{{- $stated | default (hasPrefix "http://" .Values.api.url | ternary "80" "443") -}}
{{- end -}}
