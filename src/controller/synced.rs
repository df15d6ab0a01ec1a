//! Whether the watches have seen all there is: nothing is decided on half of it.

use std::time::Duration;

use futures::future::{join_all, select_all};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::runtime::admin::Check;

/// An API server that starts refuses everybody until it has read its roles, which takes seconds.
const REFUSAL: Duration = Duration::from_secs(15);

/// That a watch has seen all there is, for once at least.
#[derive(Clone, Debug)]
pub struct Synced {
    check: Check,
    token: CancellationToken,
    refused: CancellationToken,
}

impl Synced {
    /// Not yet; `check` is what readiness says.
    pub fn new(check: Check) -> Self {
        Self { check, token: CancellationToken::new(), refused: CancellationToken::new() }
    }

    /// Cancelled when it is.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Ends when it is, or when the API server goes on saying that the operator may not list these: whether it is.
    async fn is_permitted(&self) -> bool {
        let stays_refused = async {
            self.refused.cancelled().await;
            sleep(REFUSAL).await;
        };
        tokio::select! {
            biased;
            () = self.token.cancelled() => true,
            () = stays_refused => false,
        }
    }

    /// The watch has seen all there is.
    pub(super) fn reached(&self) {
        self.check.set(true);
        self.token.cancel();
    }

    /// The API server says that the operator may not list or watch these.
    pub(super) fn refused(&self) {
        self.refused.cancel();
    }
}

/// The watches of one namespace, or of all.
#[derive(Clone, Debug)]
pub struct InSync {
    /// Of its resources.
    pub resources: Synced,
    /// Of its Secrets. It begins when the resources are known.
    pub secrets: Synced,
}

impl InSync {
    async fn reached(&self) {
        self.resources.token.cancelled().await;
        self.secrets.token.cancelled().await;
    }

    async fn is_permitted(&self) -> bool {
        self.resources.is_permitted().await && self.secrets.is_permitted().await
    }
}

/// Ends when every namespace is in sync or may not be watched, and one of them is in sync. A role that is gone in one of several, or the whole
/// namespace with it, keeps none of the others waiting.
pub async fn first_sync(namespaces: &[InSync]) {
    let permitted = join_all(namespaces.iter().map(InSync::is_permitted)).await;
    if !permitted.contains(&true) {
        select_all(namespaces.iter().map(|namespace| Box::pin(namespace.reached()))).await;
    }
}
