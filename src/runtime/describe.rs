//! Errors in words that may stand in a log.
//!
//! The texts of kube's errors are not fit for that. Text of an answer that does not deserialize can hold a Secret's data,
//! that of a kubeconfig which does not parse shows the lines around the mistake, and that of an auth plugin which fails
//! shows what it printed. Here each is told by what happened and where, without what was in it.

use std::{error::Error as StdError, fmt::Write};

use kube::{
    client::AuthError,
    config::{InferConfigError, KubeconfigError},
    core::Status,
};

/// A kube error, for logs and messages. Never shows content of objects, of kubeconfigs, or of plugins.
pub fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => describe_status(status),
        kube::Error::SerdeError(error) => {
            format!("an answer that cannot be read ({:?} at column {})", error.classify(), error.column())
        }
        kube::Error::FromUtf8(_) => "an answer that is not UTF-8".into(),
        kube::Error::Auth(error) => describe_auth(error),
        kube::Error::InferKubeconfig(error) => describe_kubeconfig(error),
        kube::Error::InferConfig(InferConfigError { .. }) => "no kubeconfig and no service account".into(),
        kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. } => {
            "a proxy URL that is neither http:// nor https://".into()
        }
        kube::Error::Service(error) => match auth_error(error.as_ref()) {
            Some(error) => describe_auth(error),
            None => chain(error.as_ref()),
        },
        other => chain(other),
    }
}

/// The server's own words. What an admission webhook or policy has to say after its refusal is left out: it may quote the object.
fn describe_status(status: &Status) -> String {
    if status.reason == "Failed to parse error data" {
        return format!("{} from something that is not an API server", status.code);
    }
    let refusal = ["denied the request", "denied request"].into_iter().find_map(|words| {
        let (who, _) = status.message.split_once(words)?;
        Some(format!("{who}{words}"))
    });
    let message = refusal.as_deref().unwrap_or(&status.message);
    format!("{} {}: {message}", status.code, status.reason)
}

/// A kubeconfig that cannot be used.
pub(super) fn describe_kubeconfig(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => match error.location() {
            Some(place) => format!("not a kubeconfig: mistake at line {}, column {}", place.line(), place.column()),
            None => "not a kubeconfig".into(),
        },
        other => chain(other),
    }
}

fn describe_auth(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { out, .. } => format!("the auth plugin of the kubeconfig failed: {}", out.status),
        AuthError::AuthExecStart(error) => format!("the auth plugin of the kubeconfig cannot be started: {error}"),
        AuthError::ReadTokenFile(error, path) => format!("cannot read the token file {}: {error}", path.display()),
        AuthError::AuthExecParse(_) | AuthError::AuthExec(_) | AuthError::ExecPluginFailed => {
            "the auth plugin of the kubeconfig gave no usable answer".into()
        }
        _ => "the credentials in the kubeconfig cannot be used".into(),
    }
}

/// kube's auth layer reports through the same channel as the connection.
fn auth_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a AuthError> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source()).find_map(|error| {
        let own = error.downcast_ref::<AuthError>();
        own.or_else(|| match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Auth(error)) => Some(error),
            _ => None,
        })
    })
}

/// An error and what caused it, on one line. Many libraries repeat the source in their own text: it is told once.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            let _ = write!(text, ": {next}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;

    use super::*;

    const SECRET: &str = "hunter2";

    fn status(code: u16, reason: &str, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
    }

    #[test]
    fn the_servers_words_are_told_and_those_of_webhooks_are_not() {
        let table = [
            (status(403, "Forbidden", "leases is forbidden: User cannot get"), "403 Forbidden: leases is forbidden: User cannot get"),
            (
                status(400, "BadRequest", "admission webhook \"w\" denied the request: data was hunter2"),
                "400 BadRequest: admission webhook \"w\" denied the request",
            ),
            (
                status(422, "Invalid", "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: hunter2"),
                "422 Invalid: ValidatingAdmissionPolicy 'p' with binding 'b' denied request",
            ),
            (status(502, "Failed to parse error data", "<html>hunter2"), "502 from something that is not an API server"),
            (
                kube::Error::Service(Box::new(kube::Error::Auth(AuthError::AuthExec(SECRET.into())))),
                "the auth plugin of the kubeconfig gave no usable answer",
            ),
        ];
        for (error, expected) in table {
            assert_eq!(describe(&error), expected);
        }
    }

    #[test]
    fn an_answer_that_does_not_deserialize_is_told_without_its_data() {
        let error = serde_json::from_str::<bool>(&format!("\"{SECRET}\"")).expect_err("not a bool");
        assert!(error.to_string().contains(SECRET), "or this test shows nothing");
        assert_eq!(describe(&kube::Error::SerdeError(error)), "an answer that cannot be read (Data at column 9)");
    }

    #[test]
    fn a_kubeconfig_that_does_not_parse_is_told_without_its_lines() {
        let error =
            Kubeconfig::from_yaml(&format!("users:\n- name: a\n  user: {{token: {SECRET}}}\nclusters: {SECRET}\n")).expect_err("clusters");
        assert!(error.to_string().contains(SECRET), "or this test shows nothing");
        assert_eq!(describe_kubeconfig(&error), "not a kubeconfig: mistake at line 4, column 11");
    }

    #[test]
    fn a_chain_tells_each_cause_once() {
        let inner = std::io::Error::other("connection refused");
        let error = anyhow::Error::from(inner).context("cannot connect: connection refused").context("lease");
        assert_eq!(chain(error.as_ref()), "lease: cannot connect: connection refused");
    }
}
