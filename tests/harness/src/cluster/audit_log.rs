//! The API server's audit log as it has been read so far: its lines, put together to requests.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::audit::{Access, AuditEvent};

/// All requests so far, in the order in which they came. A request's place never changes.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// How many bytes of the file have been read.
    read: u64,
    /// The last of them, if they are not a whole line.
    torn: Vec<u8>,
    /// In the order in which they came.
    requests: Vec<AuditEvent>,
    /// Where in `requests` those are that have no answer yet, by the id that their lines share.
    waiting: HashMap<String, usize>,
}

impl Log {
    /// Reads on from where it ended the last time.
    pub(super) fn read_on(&mut self, path: &Path) -> Result<()> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            // The server has not come to that yet.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.read)).context("reading the audit log")?;
        self.read += file.read_to_end(&mut bytes).context("reading the audit log")? as u64;
        self.take(&bytes)
    }

    /// What the server has not answered it never will, and the line that it was writing ends in the middle.
    pub(super) fn server_died(&mut self) {
        self.waiting.clear();
        self.torn.clear();
    }

    /// The place of the last request for `uri`.
    pub(super) fn place_of(&self, uri: &str) -> Option<usize> {
        self.requests.iter().rposition(|event| event.uri == uri)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The requests at these places.
    pub(super) fn at(&self, places: Range<usize>) -> &[AuditEvent] {
        self.requests.get(places).unwrap_or_default()
    }

    /// Those of them that may still be answered.
    pub(super) fn unanswered(&self, places: &Range<usize>) -> impl Iterator<Item = &AuditEvent> {
        self.waiting.values().filter(|place| places.contains(place)).map(|place| &self.requests[*place])
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.torn.extend_from_slice(bytes);
        let Some(end) = self.torn.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.torn.split_off(end + 1);
        let lines = std::mem::replace(&mut self.torn, rest);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Line =
                serde_json::from_slice(line).with_context(|| format!("a line of the audit log: {}", String::from_utf8_lossy(line)))?;
            self.add(line)?;
        }
        Ok(())
    }

    fn add(&mut self, line: Line) -> Result<()> {
        let came = line.stage == "RequestReceived";
        let id = line.audit_id.clone();
        let event = line.into_event()?;
        if came {
            self.waiting.insert(id, self.requests.len());
            self.requests.push(event);
        } else if let Some(place) = self.waiting.remove(&id) {
            // Only now does a creation have its name.
            self.requests[place] = event;
        } else if event.code == Some(401) {
            // Those whom the server does not know have one line.
            self.requests.push(event);
        }
        // The rest is the end of a watch, whose beginning was its answer.
        Ok(())
    }
}

/// An `Event` of `audit.k8s.io/v1`, as far as it is of interest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: String,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: u16,
}

/// What the server's authorizers have left.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "authorization.k8s.io/decision")]
    decision: String,
    /// Like `RBAC: allowed by RoleBinding "name/namespace" of Role "name" to ServiceAccount "name/namespace"`.
    #[serde(rename = "authorization.k8s.io/reason")]
    reason: String,
}

impl Annotations {
    fn access(&self) -> Access {
        match (self.decision.as_str(), self.reason.strip_prefix("RBAC: allowed by ")) {
            ("", _) => Access::Undecided,
            ("allow", Some(by)) if by.starts_with("ClusterRoleBinding ") => Access::Everywhere,
            ("allow", Some(by)) if by.starts_with("RoleBinding ") => Access::InNamespace,
            ("allow", _) => Access::Otherwise,
            _ => Access::Denied,
        }
    }
}

impl Line {
    fn into_event(self) -> Result<AuditEvent> {
        let query = self.request_uri.split_once('?').map_or("", |(_, query)| query);
        let dry_run = query.split('&').any(|parameter| parameter == "dryRun=All");
        let time = self.request_received_timestamp.parse().with_context(|| format!("the time of {}", self.request_uri))?;
        let ObjectRef { api_group: group, resource, subresource, namespace, name } = self.object_ref;
        Ok(AuditEvent {
            time,
            user: self.user.username,
            user_agent: self.user_agent,
            verb: self.verb,
            group,
            resource,
            subresource,
            namespace,
            name,
            uri: self.request_uri,
            dry_run,
            code: self.response_status.map(|status| status.code),
            access: self.annotations.access(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, stage: &str, verb: &str, uri: &str, rest: &str) -> String {
        format!(
            r#"{{"kind":"Event","level":"Metadata","auditID":"{id}","stage":"{stage}","requestURI":"{uri}","verb":"{verb}","user":{{"username":"admin","groups":["system:masters"]}},"requestReceivedTimestamp":"2026-11-24T10:00:00.123456Z","stageTimestamp":"2026-11-24T10:00:00.200000Z"{rest}}}"#
        ) + "\n"
    }

    fn read(lines: &[String]) -> Result<Log> {
        let mut log = Log::default();
        log.take(lines.concat().as_bytes())?;
        Ok(log)
    }

    fn said(log: &Log) -> Vec<String> {
        log.requests.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_request_is_complete_with_its_answer() -> Result<()> {
        let uri = "/api/v1/namespaces/a/secrets?dryRun=All&fieldManager=x";
        let came = r#","userAgent":"x/1","objectRef":{"resource":"secrets","namespace":"a","apiVersion":"v1"}"#;
        let answered = r#","objectRef":{"resource":"secrets","namespace":"a","name":"b"},"responseStatus":{"metadata":{},"code":201}"#;
        let mut log = read(&[line("1", "RequestReceived", "create", uri, came)])?;
        assert_eq!(said(&log), ["create secrets a/ (dry run) unanswered"]);
        assert_eq!(log.unanswered(&(0..1)).count(), 1);
        assert_eq!(log.unanswered(&(1..2)).count(), 0);
        log.take(line("1", "ResponseComplete", "create", uri, answered).as_bytes())?;
        assert_eq!(said(&log), ["create secrets a/b (dry run) 201"]);
        assert_eq!(log.unanswered(&(0..1)).count(), 0);
        Ok(())
    }

    #[test]
    fn a_watch_counts_once_and_from_its_beginning() -> Result<()> {
        let uri = "/api/v1/secrets?watch=true";
        let reference = r#","objectRef":{"resource":"secrets"}"#;
        let ok = r#","objectRef":{"resource":"secrets"},"responseStatus":{"code":200}"#;
        let mut log = read(&[line("1", "RequestReceived", "watch", uri, reference), line("1", "ResponseStarted", "watch", uri, ok)])?;
        assert_eq!(said(&log), ["watch secrets / 200"]);
        log.take(line("1", "ResponseComplete", "watch", uri, ok).as_bytes())?;
        assert_eq!(said(&log), ["watch secrets / 200"]);
        Ok(())
    }

    #[test]
    fn what_allowed_a_request_is_known_with_its_answer() -> Result<()> {
        let scale = |id: &str, decision: &str, reason: &str| {
            let object = r#","objectRef":{"resource":"deployments","namespace":"a","name":"b","apiGroup":"apps","subresource":"scale"}"#;
            let annotations =
                format!(r#","annotations":{{"authorization.k8s.io/decision":"{decision}","authorization.k8s.io/reason":"{reason}"}}"#);
            let uri = "/apis/apps/v1/namespaces/a/deployments/b/scale";
            [
                line(id, "RequestReceived", "patch", uri, object),
                line(id, "ResponseComplete", "patch", uri, &format!("{object}{annotations}")),
            ]
        };
        let by = |binding: &str| format!(r#"RBAC: allowed by {binding} \"x\" of Role \"x\" to ServiceAccount \"x/a\""#);
        let lines = [
            scale("1", "allow", &by("ClusterRoleBinding")),
            scale("2", "allow", &by("RoleBinding")),
            scale("3", "allow", ""),
            scale("4", "forbid", ""),
        ];
        let log = read(&lines.concat())?;
        let access: Vec<Access> = log.requests.iter().map(|event| event.access).collect();
        assert_eq!(access, [Access::Everywhere, Access::InNamespace, Access::Otherwise, Access::Denied]);
        assert_eq!(log.requests[0].what(), "deployments.apps/scale");
        Ok(())
    }

    #[test]
    fn a_stranger_is_refused_in_one_line() -> Result<()> {
        let log = read(&[line("1", "ResponseStarted", "get", "/version", r#","responseStatus":{"code":401}"#)])?;
        assert_eq!(said(&log), ["get /version 401"]);
        Ok(())
    }

    #[test]
    fn half_a_line_waits_for_its_other_half_or_dies_with_the_server() -> Result<()> {
        let version = |id| line(id, "RequestReceived", "get", "/version", "");
        let (whole, half) = (version("1"), version("2"));
        let (half, other_half) = half.split_at(50);
        let mut log = read(&[whole, half.to_owned()])?;
        assert_eq!(log.requests.len(), 1);
        log.take(other_half.as_bytes())?;
        assert_eq!(log.requests.len(), 2);

        log.take(half.as_bytes())?;
        log.server_died();
        assert_eq!(log.unanswered(&(0..2)).count(), 0);
        log.take(version("3").as_bytes())?;
        assert_eq!(said(&log), ["get /version unanswered"; 3]);
        Ok(())
    }
}
