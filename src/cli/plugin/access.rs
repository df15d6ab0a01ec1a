//! Everything that the plugin asks of the API server, in one place.
//!
//! Secrets are asked for by their metadata alone, which brings no data of theirs but what somebody has put into an annotation: `kubectl apply`
//! leaves a copy of the whole Secret there. Of annotations the plugin reads those that the operator wrote, by their names, and prints none.
//! The other kinds are read whole, and tolerantly.

use std::fmt::Debug;

use anyhow::bail;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec},
        coordination::v1::Lease,
        core::v1::{Pod, Secret},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResourceExt, Resource, ResourceExt,
    api::{GetParams, ListParams, PartialObjectMeta, Patch, PatchParams, PostParams, Request},
    client::Body,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    NAME,
    flags::{ClusterFlags, Which},
    trouble::{Asked, RESOURCES, Trouble},
};
use crate::{
    api::{RevoiceitCredential, names},
    runtime::{
        client::{Cluster, Purpose},
        tolerant::Tolerant,
    },
};

/// So many objects come with one answer.
const PAGE: u32 = 500;

/// A resource as it is read.
pub(super) type Read = Tolerant<RevoiceitCredential>;
/// A Secret without its data.
pub(super) type SecretMeta = Tolerant<PartialObjectMeta<Secret>>;

/// A cluster, and the namespace that is meant when none is named.
pub(super) struct Access {
    client: Client,
    /// What `-n` says, else the context.
    pub(super) namespace: String,
    /// Whether that was said on the command line.
    pub(super) is_namespace_given: bool,
}

impl Access {
    /// Finds the cluster; nothing is asked of it yet.
    pub(super) async fn connect(flags: &ClusterFlags) -> anyhow::Result<Self> {
        let cluster = Cluster::for_person(flags.kubeconfig.as_deref(), flags.context.as_deref()).await?;
        let namespace = flags.namespace.clone().unwrap_or_else(|| cluster.default_namespace().to_owned());
        Ok(Self { client: cluster.client(Purpose::Calls)?, namespace, is_namespace_given: flags.namespace.is_some() })
    }

    /// An Api of one namespace, or of all of them.
    fn api<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    pub(super) async fn resource(&self, namespace: &str, name: &str) -> Result<Read, Trouble> {
        let asked = Asked { verb: "get", what: RESOURCES, namespace: Some(namespace), name: Some(name) };
        self.api(Some(namespace)).get(name).await.map_err(|error| Trouble::of(&error, asked))
    }

    pub(super) async fn resources(&self, namespace: Option<&str>, selector: Option<&str>) -> Result<Vec<Read>, Trouble> {
        let params = ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() };
        list(&self.api(namespace), params, Asked { verb: "list", what: RESOURCES, namespace, name: None }).await
    }

    /// Those that are meant, at least one.
    pub(super) async fn select(&self, which: &Which) -> anyhow::Result<Vec<Read>> {
        let mut found = Vec::new();
        for name in &which.names {
            found.push(self.resource(&self.namespace, name).await?);
        }
        if which.names.is_empty() {
            let namespace = (!which.all_namespaces).then_some(self.namespace.as_str());
            found = self.resources(namespace, which.selector.as_deref()).await?;
            if found.is_empty() {
                bail!("{}", none_found(namespace, which.selector.as_deref()));
            }
        }
        Ok(found)
    }

    /// Merges into a resource, in the plugin's own name.
    pub(super) async fn patch(&self, resource: &Read, patch: &Value) -> Result<Read, Trouble> {
        let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
        let asked = Asked { verb: "patch", what: RESOURCES, namespace: Some(&namespace), name: Some(&name) };
        let params = PatchParams { field_manager: Some(NAME.to_owned()), ..PatchParams::default() };
        self.api(Some(&namespace)).patch(&name, &params, &Patch::Merge(patch)).await.map_err(|error| Trouble::of(&error, asked))
    }

    /// A Secret's metadata.
    pub(super) async fn secret(&self, namespace: &str, name: &str) -> Result<SecretMeta, Trouble> {
        let asked = Asked { verb: "get", what: "secrets", namespace: Some(namespace), name: Some(name) };
        self.api(Some(namespace)).get(name).await.map_err(|error| Trouble::of(&error, asked))
    }

    /// The metadata of Secrets that may be credentials or targets.
    pub(super) async fn secrets(&self, namespace: Option<&str>) -> Result<Vec<SecretMeta>, Trouble> {
        let params = ListParams::default()
            .fields(&format!("type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!={}", names::LEDGER_TYPE));
        list(&self.api(namespace), params, Asked { verb: "list", what: "secrets", namespace, name: None }).await
    }

    /// The metadata of the ledgers.
    pub(super) async fn ledgers(&self, namespace: &str) -> Result<Vec<SecretMeta>, Trouble> {
        let params = ListParams::default().fields(&format!("type={}", names::LEDGER_TYPE));
        list(&self.api(Some(namespace)), params, Asked { verb: "list", what: "secrets", namespace: Some(namespace), name: None }).await
    }

    pub(super) async fn crd(&self) -> Result<CustomResourceDefinition, Trouble> {
        let name = RevoiceitCredential::crd_name();
        let asked = Asked { verb: "get", what: "customresourcedefinitions", namespace: None, name: Some(name) };
        Api::all(self.client.clone()).get(name).await.map_err(|error| Trouble::of(&error, asked))
    }

    /// Of the operator, by the label that all ways of installing it set.
    pub(super) async fn deployments(&self, namespace: &str) -> Result<Vec<Deployment>, Trouble> {
        let asked = Asked { verb: "list", what: "deployments", namespace: Some(namespace), name: None };
        list(&self.api(Some(namespace)), of_operator(), asked).await
    }

    pub(super) async fn pods(&self, namespace: &str) -> Result<Vec<Pod>, Trouble> {
        list(&self.api(Some(namespace)), of_operator(), Asked { verb: "list", what: "pods", namespace: Some(namespace), name: None }).await
    }

    pub(super) async fn lease(&self, namespace: &str) -> Result<Tolerant<Lease>, Trouble> {
        let asked = Asked { verb: "get", what: "leases", namespace: Some(namespace), name: Some(names::OPERATOR) };
        self.api(Some(namespace)).get(names::OPERATOR).await.map_err(|error| Trouble::of(&error, asked))
    }

    /// What the operator answers in a pod, through the API server.
    pub(super) async fn ask_pod(&self, namespace: &str, pod: &str, port: i32, path: &str) -> Result<String, kube::Error> {
        let url = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy");
        self.client.request_text(Request::new(url).get(path, &GetParams::default()).map_err(kube::Error::BuildRequest)?).await
    }

    /// What the API server's clock says, to the second.
    pub(super) async fn server_time(&self) -> Result<Option<Timestamp>, kube::Error> {
        let request = Request::new("").get("version", &GetParams::default()).map_err(kube::Error::BuildRequest)?;
        let answer = self.client.send(request.map(Body::from)).await?;
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
        Ok(date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp()))
    }

    /// Whether somebody may do this.
    pub(super) async fn may(&self, review: SubjectAccessReviewSpec) -> Result<bool, Trouble> {
        let asked = Asked { verb: "create", what: "subjectaccessreviews", namespace: None, name: None };
        let review = SubjectAccessReview { spec: review, ..SubjectAccessReview::default() };
        let answer = Api::all(self.client.clone()).create(&PostParams::default(), &review).await;
        Ok(answer.map_err(|error| Trouble::of(&error, asked))?.status.is_some_and(|status| status.allowed))
    }
}

/// What to say when nothing is meant.
pub(super) fn none_found(namespace: Option<&str>, selector: Option<&str>) -> String {
    let of = namespace.map_or_else(|| "any namespace".to_owned(), |namespace| format!("namespace \"{namespace}\""));
    match selector {
        Some(selector) => format!("no RevoiceitCredentials in {of} with the labels {selector}"),
        None => format!("no RevoiceitCredentials in {of}"),
    }
}

fn of_operator() -> ListParams {
    ListParams::default().labels(&format!("app.kubernetes.io/name={}", names::OPERATOR))
}

async fn list<K: Clone + Debug + DeserializeOwned>(api: &Api<K>, params: ListParams, asked: Asked<'_>) -> Result<Vec<K>, Trouble> {
    let mut params = params.limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = api.list(&params).await.map_err(|error| Trouble::of(&error, asked))?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(all),
        }
    }
}
