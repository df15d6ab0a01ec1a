//! What kept something from being asked of the API server, in words that say what to do.

use kube::core::{Status, response::reason};

use crate::{api::names, runtime::describe::describe};

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// As roles say it: `get`, `list`, `patch`, `create`.
    pub(super) verb: &'a str,
    /// As roles say it: `secrets`, `pods/proxy`.
    pub(super) what: &'a str,
    /// `None`: of the whole cluster.
    pub(super) namespace: Option<&'a str>,
    /// `None`: a list.
    pub(super) name: Option<&'a str>,
}

/// Why it was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// The object is not there.
    #[error("{0} not found")]
    NotFound(String),
    /// The API server does not know the resource.
    #[error(
        "the API server does not know RevoiceitCredentials: the CRD is not installed. Whoever runs the cluster installs it with \
         \"revoiceit-operator crd | kubectl apply --server-side -f -\", or together with the operator"
    )]
    NoCrd,
    /// A right is missing.
    #[error("you may not {what}{}", advice(role))]
    Forbidden {
        /// What was asked.
        what: String,
        /// The role that people usually have who may do it.
        role: Option<&'static str>,
    },
    /// Who asks is not known.
    #[error("the API server does not know you: log in again, or check --kubeconfig and --context")]
    Unknown,
    /// Anything else.
    #[error("the API server could not be asked: {0}")]
    Other(String),
}

fn advice(role: &Option<&'static str>) -> String {
    role.map_or_else(String::new, |role| {
        format!(": that needs the role \"{role}\" there. Whoever runs the cluster or the namespace grants it")
    })
}

impl Trouble {
    pub(super) fn of(error: &kube::Error, asked: Asked) -> Self {
        let kube::Error::Api(status) = error else { return Self::Other(describe(error)) };
        match status.code {
            401 => Self::Unknown,
            403 if is_about_rights(status) => Self::Forbidden { what: asked.to_string(), role: role(asked) },
            404 if is_missing_object(status, asked) => Self::NotFound(asked.object()),
            404 if asked.is_of_ours() => Self::NoCrd,
            _ => Self::Other(describe(error)),
        }
    }

    /// Whether only a right was missing.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    /// Whether there was nothing.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

/// A quota and an admission policy answer with the same code.
fn is_about_rights(status: &Status) -> bool {
    status.reason == reason::FORBIDDEN && status.message.contains("cannot ")
}

/// Also a page of something in between is a 404.
fn is_missing_object(status: &Status, asked: Asked) -> bool {
    let named = status.details.as_ref().map(|details| details.name.as_str()).unwrap_or_default();
    status.reason == reason::NOT_FOUND && asked.name.is_some_and(|name| named == name)
}

/// The role that people usually have who may do this.
fn role(asked: Asked) -> Option<&'static str> {
    match (asked.verb, asked.is_of_ours()) {
        ("get" | "list", true) => Some("view"),
        ("patch", true) => Some("edit"),
        _ => None,
    }
}

impl Asked<'_> {
    fn is_of_ours(self) -> bool {
        self.what == RESOURCES
    }

    fn object(self) -> String {
        let what = match self.what {
            RESOURCES => names::KIND,
            other => other.trim_end_matches('s'),
        };
        let name = self.name.unwrap_or_default();
        match self.namespace {
            Some(namespace) => format!("{what} \"{name}\" in namespace \"{namespace}\""),
            None => format!("{what} \"{name}\""),
        }
    }
}

/// The resources, as roles say it.
pub(super) const RESOURCES: &str = "revoiceitcredentials";

impl std::fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verb, what, namespace, name } = self;
        write!(f, "{verb} {what}")?;
        if let Some(name) = name.filter(|_| *what == RESOURCES) {
            write!(f, " \"{name}\"")?;
        }
        match namespace {
            Some(namespace) => write!(f, " in namespace \"{namespace}\""),
            None => write!(f, " of the whole cluster"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, reason: &str, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
    }

    const ASKED: Asked<'static> = Asked { verb: "get", what: RESOURCES, namespace: Some("team-a"), name: Some("speech") };

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let missing: kube::Error = kube::Error::Api(Box::new(
            serde_json::from_value(serde_json::json!({ "code": 404, "reason": "NotFound", "details": { "name": "speech" } }))
                .expect("a Status"),
        ));
        let forbidden = error(403, "Forbidden", "User \"x\" cannot get resource");
        let patch = Asked { verb: "patch", ..ASKED };
        let table = [
            (&missing, ASKED, "RevoiceitCredential \"speech\" in namespace \"team-a\" not found"),
            (
                &forbidden,
                patch,
                "you may not patch revoiceitcredentials \"speech\" in namespace \"team-a\": that needs the role \"edit\" there. Whoever runs the cluster or the namespace grants it",
            ),
            (
                &forbidden,
                Asked { verb: "list", what: "secrets", namespace: None, name: None },
                "you may not list secrets of the whole cluster",
            ),
        ];
        for (error, asked, text) in table {
            assert_eq!(Trouble::of(error, asked).to_string(), text);
        }
    }

    #[test]
    fn a_page_is_no_proof_that_an_object_is_missing_and_a_policy_is_no_missing_right() {
        assert_eq!(Trouble::of(&error(404, "Failed to parse error data", "404 page not found"), ASKED), Trouble::NoCrd);
        let policy = error(403, "Forbidden", "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no");
        assert!(matches!(Trouble::of(&policy, ASKED), Trouble::Other(_)));
        assert_eq!(Trouble::of(&error(401, "Unauthorized", "Unauthorized"), ASKED), Trouble::Unknown);
    }
}
