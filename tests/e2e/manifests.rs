//! Manifests as users write them, wrong ones above all.

/// Each wrong manifest with what is wrong about it. What users are told stands in `golden/malformed.txt`.
pub(crate) fn malformed() -> Vec<(&'static str, String)> {
    let mut cases = Vec::new();
    cases.extend(SPECS.iter().map(|(what, spec)| (*what, with_spec(spec))));
    cases.extend(
        TARGETS.iter().map(|(what, field)| (*what, with_spec(&format!("{CREDENTIALS}  target: {{name: speech-token, {field}}}\n")))),
    );
    cases.extend(OTHERS.iter().map(|(what, field)| (*what, with_spec(&format!("{CREDENTIALS}{TARGET}  {field}\n")))));
    let keys = |count: usize| (0..count).map(|n| format!("      key{n}: x\n")).collect::<String>();
    let long = |length: usize| "x".repeat(length);
    cases.extend([
        ("no spec", HEAD.to_owned()),
        ("a version that does not exist", with_spec(CREDENTIALS).replace("revoiceit.com/v1", "revoiceit.com/v1beta1")),
        ("a credentials name of 254 characters", with_spec(&format!("  credentialsSecretRef: {{name: {}}}\n{TARGET}", long(254)))),
        (
            "a clientIdKey of 254 characters",
            with_spec(&format!("  credentialsSecretRef: {{name: a, clientIdKey: {}}}\n{TARGET}", long(254))),
        ),
        ("33 labels", with_target(&format!("    labels:\n{}", keys(33)))),
        ("a label value of 64 characters", with_target(&format!("    labels: {{team: {}}}\n", long(64)))),
        ("a label name of 64 characters", with_target(&format!("    labels: {{example.com/{}: x}}\n", long(64)))),
        ("33 annotations", with_target(&format!("    annotations:\n{}", keys(33)))),
        ("an annotation of 4097 characters", with_target(&format!("    annotations: {{note: {}}}\n", long(4097)))),
        ("a template of 33 keys", with_target(&format!("    template:\n{}", keys(33)))),
        ("a template key of 254 characters", with_target(&format!("    template: {{{}: x}}\n", long(254)))),
        ("a template value of 4097 characters", with_target(&format!("    template: {{t: {}}}\n", long(4097)))),
    ]);
    cases
}

/// A manifest that uses every field of the spec, and the limits of each.
pub(crate) fn with_every_field() -> String {
    let value = "{{ accessToken }}{{ expiresAt }}{{ accessToken }}{{ expiresAt }}";
    let template: String = (0..29).map(|n| format!("      key{n}: {}\n", "x".repeat(4096))).collect();
    let labels: String = (0..30).map(|n| format!("      example.com/label{n}: {}\n", "x".repeat(63))).collect();
    let annotations: String = (0..32).map(|n| format!("      example.com/annotation{n}: {}\n", "x".repeat(4096))).collect();
    format!(
        r#"{HEAD}spec:
  credentialsSecretRef:
    name: revoiceit-client
    clientIdKey: .id
    clientSecretKey: client_secret-1
  target:
    name: speech-token.example.com
    labels:
      app.kubernetes.io/part-of: speech
      team: ""
{labels}    annotations:
{annotations}    template:
      four: "{value}"
      json: '{{"token": "{{{{ accessToken }}}}", "expires": {{"at": "{{{{ expiresAt }}}}"}}}}'
      env: |
        REVOICEIT_TOKEN={{{{ accessToken }}}}
        OTHER={{x}}
{template}  refresh:
    beforeExpiry: 10m
  revocation:
    deadline: 168h
    grace: 0s
  suspend: true
"#
    )
}

/// A manifest with as little as possible. Kubernetes fills in the rest.
pub(crate) fn least() -> String {
    with_spec(&format!("{CREDENTIALS}{TARGET}"))
}

const HEAD: &str = "apiVersion: revoiceit.com/v1\nkind: RevoiceitCredential\nmetadata:\n  name: speech\n";
const CREDENTIALS: &str = "  credentialsSecretRef: {name: revoiceit-client}\n";
const TARGET: &str = "  target: {name: speech-token}\n";

fn with_spec(spec: &str) -> String {
    format!("{HEAD}spec:\n{spec}")
}

fn with_target(rest: &str) -> String {
    with_spec(&format!("{CREDENTIALS}  target:\n    name: speech-token\n{rest}"))
}

/// Whole specs.
const SPECS: &[(&str, &str)] = &[
    ("an empty spec", "  {}\n"),
    ("no credentials", "  target: {name: speech-token}\n"),
    ("no target", "  credentialsSecretRef: {name: revoiceit-client}\n"),
    ("credentials without a name", "  credentialsSecretRef: {}\n  target: {name: speech-token}\n"),
    ("a target without a name", "  credentialsSecretRef: {name: revoiceit-client}\n  target: {labels: {team: speech}}\n"),
    ("an empty credentials name", "  credentialsSecretRef: {name: \"\"}\n  target: {name: speech-token}\n"),
    ("a credentials name that no Secret can have", "  credentialsSecretRef: {name: Revoiceit_Client}\n  target: {name: speech-token}\n"),
    ("a target in another namespace", "  credentialsSecretRef: {name: revoiceit-client}\n  target: {name: other/speech-token}\n"),
    (
        "credentials in another namespace",
        "  credentialsSecretRef: {name: revoiceit-client, namespace: other}\n  target: {name: speech-token}\n",
    ),
    ("one Secret for both", "  credentialsSecretRef: {name: revoiceit-client}\n  target: {name: revoiceit-client}\n"),
    (
        "one key for both",
        "  credentialsSecretRef: {name: revoiceit-client, clientIdKey: client, clientSecretKey: client}\n  target: {name: speech-token}\n",
    ),
    (
        "one key for both, through a default",
        "  credentialsSecretRef: {name: revoiceit-client, clientSecretKey: clientId}\n  target: {name: speech-token}\n",
    ),
    ("a key with a space", "  credentialsSecretRef: {name: revoiceit-client, clientIdKey: client id}\n  target: {name: speech-token}\n"),
    (
        "a key that leads out of a folder",
        "  credentialsSecretRef: {name: revoiceit-client, clientSecretKey: ..}\n  target: {name: speech-token}\n",
    ),
    ("a misspelt field", "  credentialsSecretRef: {name: revoiceit-client}\n  target: {nmae: speech-token}\n"),
    (
        "several mistakes at once",
        "  credentialsSecretRef: {name: A, clientIdKey: a b}\n  target: {name: A, template: {t: \"{{ x }}\"}}\n  refresh: {beforeExpiry: 1h}\n  revocation: {grace: 2h}\n",
    ),
];

/// What is added to a target that is right so far.
const TARGETS: &[(&str, &str)] = &[
    ("no template", "template: {}"),
    ("a template key with a space", "template: {access token: x}"),
    ("a template key that leads out of a folder", "template: {..token: x}"),
    ("the refresh token in the target", "template: {t: \"{{ refreshToken }}\"}"),
    ("a placeholder without spaces", "template: {t: \"{{accessToken}}\"}"),
    ("a placeholder with a function", "template: {t: \"{{ accessToken | b64enc }}\"}"),
    ("an open placeholder", "template: {t: \"Bearer {{ accessToken\"}"),
    ("five placeholders", "template: {t: \"{{ accessToken }}{{ accessToken }}{{ accessToken }}{{ accessToken }}{{ accessToken }}\"}"),
    ("a number in the template", "template: {t: 1}"),
    ("a label of the operator's", "labels: {revoiceit.com/x: \"\"}"),
    ("the label that says who manages the Secret", "labels: {app.kubernetes.io/managed-by: me}"),
    ("a label below a reserved prefix", "labels: {a.k8s.io/x: \"\"}"),
    ("a label key that is none", "labels: {-x: \"\"}"),
    ("a label value that is none", "labels: {team: speech team}"),
    ("a boolean for a label value", "labels: {canary: true}"),
    ("a word for a label value that YAML takes for a boolean", "labels: {canary: y}"),
    ("an annotation of a service account's", "annotations: {kubernetes.io/service-account.name: admin}"),
    ("an annotation of a backup tool's", "annotations: {velero.io/x: \"\"}"),
    ("an annotation of a delivery tool's", "annotations: {argocd.argoproj.io/sync-wave: \"1\"}"),
    ("an annotation key that is none", "annotations: {a/b/c: d}"),
];

/// What is added to a spec that is right so far.
const OTHERS: &[(&str, &str)] = &[
    ("suspend as text", "suspend: \"yes\""),
    ("a number for a duration", "refresh: {beforeExpiry: 15}"),
    ("a duration without a unit", "refresh: {beforeExpiry: \"15\"}"),
    ("an empty duration", "refresh: {beforeExpiry: \"\"}"),
    ("a refresh too late", "refresh: {beforeExpiry: 9m59s}"),
    ("a refresh too early", "refresh: {beforeExpiry: 40m1s}"),
    ("a deadline in days", "revocation: {deadline: 1d}"),
    ("a deadline too late", "revocation: {deadline: 169h}"),
    ("a negative deadline", "revocation: {deadline: -5m}"),
    ("a fraction", "revocation: {grace: 0.5h}"),
    ("a grace too long", "revocation: {grace: 61m}"),
    ("a duration beyond all numbers", "revocation: {grace: 9999999999999999h}"),
    ("a duration of 21 characters", "revocation: {grace: 1s1s1s1s1s1s1s1s1s01s}"),
];
