{{/* What is wrong about values together, which the schema cannot say in words. */}}
{{- define "revoiceit-operator.checks" -}}
{{- if and (hasPrefix "http://" .Values.api.url) (not .Values.api.allowInsecure) -}}
{{- fail (printf "api.url %s would send client secrets and tokens unencrypted: use an https:// URL, or set api.allowInsecure=true for a sandbox" .Values.api.url) -}}
{{- end -}}
{{- if and .Values.api.caBundle.configMap .Values.api.caBundle.secret -}}
{{- fail "api.caBundle.configMap and api.caBundle.secret are both set: leave one of them out" -}}
{{- end -}}
{{- if has .Release.Namespace .Values.scope.namespaces -}}
{{- fail (printf "scope.namespaces names %s, the release's own namespace, in which no resource is served: leave it out, or install the release into a namespace of its own" .Release.Namespace) -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false: say with serviceAccount.name which service account to use" -}}
{{- end -}}
{{- end -}}
