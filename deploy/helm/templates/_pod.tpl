{{/* What the operator's pod and the drain's have in common. */}}

{{- define "revoiceit-operator.podBasics" -}}
automountServiceAccountToken: true
# Calls in flight and the saving of what they bring take up to 60 s.
terminationGracePeriodSeconds: 75
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.api.caBundle.configMap .Values.api.caBundle.secret .Values.extraVolumes }}
volumes:
{{- if .Values.api.caBundle.configMap }}
- name: api-ca
  configMap:
    name: {{ .Values.api.caBundle.configMap }}
{{- else if .Values.api.caBundle.secret }}
- name: api-ca
  secret:
    secretName: {{ .Values.api.caBundle.secret }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "revoiceit-operator.containerBasics" -}}
image: {{ include "revoiceit-operator.image" . | quote }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.api.caBundle.configMap .Values.api.caBundle.secret .Values.extraVolumeMounts }}
volumeMounts:
{{- if or .Values.api.caBundle.configMap .Values.api.caBundle.secret }}
# The folder: a single file would not follow the ConfigMap or the Secret.
- name: api-ca
  mountPath: /etc/revoiceit/api-ca
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* How Revoiceit is called and what is served. */}}
{{- define "revoiceit-operator.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- $api := .Values.api }}
{{- $caFile := or $api.caBundle.configMap $api.caBundle.secret | empty | ternary "" (printf "/etc/revoiceit/api-ca/%s" $api.caBundle.key) }}
{{ include "revoiceit-operator.variables" (dict
  "REVOICEIT_API_URL" $api.url
  "REVOICEIT_API_CA_FILE" $caFile
  "REVOICEIT_ALLOW_INSECURE_API" $api.allowInsecure
  "REVOICEIT_TOKEN_LIFETIME" $api.tokenLifetime
  "REVOICEIT_API_QPS" $api.qps
  "REVOICEIT_API_BURST" $api.burst
  "REVOICEIT_API_IN_FLIGHT" $api.inFlight
  "REVOICEIT_API_TIMEOUT" $api.timeout
  "REVOICEIT_NAMESPACE" (join "," .Values.scope.namespaces)
  "HTTP_PROXY" .Values.proxy.http
  "HTTPS_PROXY" .Values.proxy.https
  "NO_PROXY" .Values.proxy.noProxy
) }}
{{- end -}}

{{/* A list of variables from a map; what is empty is left to the program. */}}
{{- define "revoiceit-operator.variables" -}}
{{- $variables := list }}
{{- range $name, $value := . }}
{{- if ne "" (toString $value) }}
{{- $variables = append $variables (dict "name" $name "value" (toString $value)) }}
{{- end }}
{{- end }}
{{- toYaml $variables }}
{{- end -}}
