//! What the operator itself answers, in each of its pods, through the API server: whether it is ready, and its metrics.

use kube::core::Status;

use super::finding::Check;
use crate::{cli::plugin::paint::plain, runtime::describe::describe};

/// The most of an answer that is shown.
const MOST: usize = 300;
/// A clock that is off by more makes tokens seem to live too long, or too short.
const SKEW: f64 = 60.0;
/// What is said about a pod that may not be asked.
const NO_RIGHT: &str = "you may not get pods/proxy in the operator's namespace";

/// What a pod answered.
pub(super) enum Answer {
    Said(String),
    /// The operator's own answer that something is missing.
    Refused(String),
    NoRight,
    /// It could not be asked.
    Unreached(String),
}

impl From<Result<String, kube::Error>> for Answer {
    fn from(answer: Result<String, kube::Error>) -> Self {
        match answer {
            Ok(text) => Self::Said(text),
            Err(kube::Error::Api(status)) if status.code == 403 => Self::NoRight,
            // A `Status` is the API server's word; anything else came from the pod.
            Err(kube::Error::Api(status)) if status.code == 503 && status.reason == "Failed to parse error data" => {
                Self::Refused(shown(&status))
            }
            Err(error) => Self::Unreached(describe(&error)),
        }
    }
}

fn shown(status: &Status) -> String {
    plain(&status.message).trim().chars().take(MOST).collect()
}

/// An answer of each pod.
pub(super) type Answers = Vec<(String, Answer)>;

/// Whether each is ready, and if not, what is missing.
pub(super) fn readiness(namespace: &str, answers: &Answers) -> Check {
    let are_ready = match answers.len() {
        1 => "1 pod says that it is ready".to_owned(),
        pods => format!("{pods} pods say that they are ready"),
    };
    let mut check = Check::new("readiness", are_ready);
    for (pod, answer) in asked(&mut check, namespace, answers) {
        if let Answer::Refused(what) = answer {
            check.problem(
                format!("Pod {namespace}/{pod} is not ready: {what}."),
                format!("What is missing names what to look at; kubectl logs -n {namespace} {pod} says more."),
            );
        }
    }
    check
}

/// What the metrics of all of them together tell.
pub(super) fn metrics(namespace: &str, answers: &Answers) -> Check {
    let mut check = Check::new("metrics", "one pod leads, and counts nothing that somebody should look at");
    let texts: Vec<(&String, &String)> = asked(&mut check, namespace, answers)
        .filter_map(|(pod, answer)| match answer {
            Answer::Said(text) => Some((pod, text)),
            Answer::Refused(_) | Answer::NoRight | Answer::Unreached(_) => None,
        })
        .collect();
    let leaders = texts.iter().filter(|(_, text)| value(text, "revoiceit_leader") > 0.0).count();
    match leaders {
        0 if !texts.is_empty() && texts.len() == answers.len() => {
            check.problem(
                "None of the pods leads: no token is refreshed.",
                format!(
                    "If it stays so for a minute: kubectl describe lease -n {namespace} revoiceit-operator, and look at the pods' logs."
                ),
            );
        }
        0 | 1 => {}
        number => check.warning(
            format!("{number} pods say that they lead."),
            "Nothing breaks, but work is done twice: are all of them run with --leader-elect, and in one namespace?",
        ),
    }
    for (pod, text) in texts {
        counted(&mut check, namespace, pod, text);
    }
    check
}

fn counted(check: &mut Check, namespace: &str, pod: &str, text: &str) {
    let unattended = value(text, "revoiceit_ledgers_unattended");
    if unattended > 0.0 {
        check.problem(
            format!("The operator holds {unattended} ledgers that it does not work on."),
            format!(
                "Their resources are in namespaces that are not served any more, or in which the operator has no role; or are gone, and the \
                 ledgers cannot be used: they are of another cluster or another --api-url, or damaged. \
                 kubectl logs -n {namespace} {pod} | grep -e ledger -e trouble says which."
            ),
        );
    }
    let unaccounted = value(text, "revoiceit_tokens_unaccounted_total");
    if unaccounted > 0.0 {
        check.warning(
            format!("{unaccounted} refresh tokens of resources that are gone may exist, and nobody has them."),
            "The Events in the operator's namespace name the resources. A new client pair on the Revoiceit platform ends such tokens.",
        );
    }
    let skew = value(text, "revoiceit_clock_skew_seconds");
    if skew.abs() > SKEW {
        check.problem(
            format!("The clock of pod {namespace}/{pod} and that of Revoiceit are {:.0}s apart.", skew.abs()),
            "Set the clock of the node by NTP: tokens are refreshed by it.",
        );
    }
    let own = env!("CARGO_PKG_VERSION");
    let version = text.lines().find_map(|line| line.strip_prefix("revoiceit_build_info{version=\"")?.split('"').next());
    if let Some(version) = version.filter(|version| *version != own) {
        check.warning(
            format!("Pod {namespace}/{pod} is of version {}, this program of {own}.", plain(version)),
            "Use the plugin of the operator's version: what one of them knows the other may not.",
        );
    }
}

/// Those that could be asked; of the others is told why not.
fn asked<'a>(check: &mut Check, namespace: &str, answers: &'a Answers) -> impl Iterator<Item = (&'a String, &'a Answer)> + use<'a> {
    if answers.is_empty() {
        check.skip_as(format!("in the namespace {namespace} no pod of the operator runs that could be asked"));
    }
    for (pod, answer) in answers {
        match answer {
            Answer::NoRight => check.skip_as(NO_RIGHT),
            Answer::Unreached(why) => check.skip_as(format!(
                "the API server does not reach pod {namespace}/{pod}, which a NetworkPolicy may be the reason of: {}",
                plain(why).chars().take(MOST).collect::<String>()
            )),
            Answer::Said(_) | Answer::Refused(_) => {}
        }
    }
    answers.iter().map(|(pod, answer)| (pod, answer))
}

/// The sum of the samples of a metric; 0 if there are none.
fn value(text: &str, metric: &str) -> f64 {
    let sample = |line: &str| {
        let rest = line.strip_prefix(metric)?;
        let rest = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    text.lines().filter_map(sample).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: &str = "revoiceit_leader 1\nrevoiceit_ledgers_unattended 0\nrevoiceit_clock_skew_seconds -1.5\n";
    const STANDBY: &str = "revoiceit_leader 0\n";

    fn said(texts: &[&str]) -> Answers {
        texts.iter().enumerate().map(|(number, text)| (format!("pod-{number}"), Answer::Said((*text).to_owned()))).collect()
    }

    fn told(check: Check) -> Vec<String> {
        check.findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_leader_and_a_standby_are_in_order() {
        let check = metrics("system", &said(&[LEADER, STANDBY]));
        assert_eq!((check.findings, check.not_checked), (vec![], vec![]));
    }

    #[test]
    fn what_metrics_tell_is_told() {
        assert_eq!(told(metrics("system", &said(&[STANDBY, STANDBY]))), ["None of the pods leads: no token is refreshed."]);
        assert_eq!(told(metrics("system", &said(&[LEADER, LEADER]))), ["2 pods say that they lead."]);
        let text = "revoiceit_leader 1\nrevoiceit_ledgers_unattended 2\nrevoiceit_tokens_unaccounted_total{a=\"}\"} 1\n\
                    revoiceit_tokens_unaccounted_total 2\nrevoiceit_clock_skew_seconds -61.2\nrevoiceit_build_info{version=\"0.0.1\"} 1\n";
        assert_eq!(
            told(metrics("system", &said(&[text]))),
            [
                "The operator holds 2 ledgers that it does not work on.".to_owned(),
                "3 refresh tokens of resources that are gone may exist, and nobody has them.".to_owned(),
                "The clock of pod system/pod-0 and that of Revoiceit are 61s apart.".to_owned(),
                format!("Pod system/pod-0 is of version 0.0.1, this program of {}.", env!("CARGO_PKG_VERSION")),
            ]
        );
    }

    #[test]
    fn what_a_pod_lacks_is_told_and_what_cannot_be_asked_is_not_checked() {
        let of = |code, reason: &str, message: &str| {
            Answer::from(Err(kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())))
        };
        let answers = vec![
            ("a".to_owned(), of(503, "Failed to parse error data", "missing: Secrets of all namespaces\n")),
            ("b".to_owned(), of(403, "Forbidden", "no")),
            ("c".to_owned(), of(503, "ServiceUnavailable", "error trying to reach service: dial tcp")),
            ("d".to_owned(), Answer::Said("ok".into())),
        ];
        let check = readiness("system", &answers);
        assert_eq!(check.not_checked.len(), 2, "{:?}", check.not_checked);
        assert_eq!(told(check), ["Pod system/a is not ready: missing: Secrets of all namespaces."]);
        // As long as one is not asked, it may be the leader.
        assert_eq!(told(metrics("system", &answers)), [""; 0]);
        assert_eq!(readiness("system", &Vec::new()).not_checked.len(), 1);
        let seen = |texts: &[&str]| readiness("system", &said(texts)).seen;
        assert_eq!([seen(&["ok"]), seen(&["ok", "ok"])], ["1 pod says that it is ready", "2 pods say that they are ready"]);
    }
}
