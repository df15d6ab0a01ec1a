//! The watches: one task for each kind and namespace, so that none that fails keeps another from being heard.

use std::{future::ready, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, InitialListStrategy, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::{
    error::ApiTrouble,
    index::{Scope, Watched},
    synced::Synced,
    tolerant::Tolerant,
};
use crate::api::RevoiceitCredential;

/// Secrets that can be neither credentials nor targets, and those that nobody but the operator has: left out by the server.
const SECRETS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!=revoiceit.com/ledger";

/// So many objects are listed at a time by an API server that does not stream its lists. All of a page is in memory, three times while it is read,
/// until the last of it has been taken in, and an object may have 1.5 MiB: whoever may write one decides that.
const PAGE: u32 = 20;

/// The longest pause between two attempts. An API server that comes back is heard within seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Follows the resources of a namespace, or of all, for ever. A list in pages is what etcd has; a stream may be older, if the API server that
/// answers lags behind.
pub async fn resources(client: Client, scope: Scope, watched: Arc<Watched>, synced: Synced, list: InitialListStrategy) {
    let api: Api<Tolerant<RevoiceitCredential>> = scoped(client, &scope);
    let config = watcher::Config { initial_list_strategy: list, ..watcher::Config::default() };
    follow(api, config, "RevoiceitCredentials", &scope, synced, |event| watched.on_resource(&scope, event)).await;
}

/// Follows the Secrets of a namespace, or of all, for ever: names and versions only.
pub async fn secrets(client: Client, scope: Scope, watched: Arc<Watched>, synced: Synced) {
    let api: Api<Tolerant<PartialObjectMeta<Secret>>> = scoped(client, &scope);
    let config = watcher::Config::default().streaming_lists().fields(SECRETS);
    follow(api, config, "Secrets", &scope, synced, |event| watched.on_secret(&scope, event_of(event))).await;
}

fn scoped<K>(client: Client, scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    match &scope.namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

fn event_of(event: Event<Tolerant<PartialObjectMeta<Secret>>>) -> Event<(String, String, String)> {
    let key = |secret: Tolerant<PartialObjectMeta<Secret>>| {
        (secret.namespace().unwrap_or_default(), secret.name_any(), secret.resource_version().unwrap_or_default())
    };
    match event {
        Event::Init => Event::Init,
        Event::InitApply(secret) => Event::InitApply(key(secret)),
        Event::InitDone => Event::InitDone,
        Event::Apply(secret) => Event::Apply(key(secret)),
        Event::Delete(secret) => Event::Delete(key(secret)),
    }
}

/// How far a watch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A list has begun, or is about to. Only what follows a complete one is told.
    Begun,
    /// An object was listed.
    Told,
    /// The list is complete.
    Listed,
    /// An object has changed.
    Heard,
}

/// Why a watch goes on no more.
#[derive(Debug)]
struct Failure {
    /// `None`: the stream ended before it had told all.
    error: Option<watcher::Error>,
    /// Before the list was complete.
    in_list: bool,
}

impl Failure {
    /// The API server does not stream its lists, or not to their end. What passes, and what pages would not change, is left out.
    fn asks_for_pages(&self) -> bool {
        use watcher::Error::{WatchError, WatchFailed, WatchStartFailed};
        match &self.error {
            // That a list is begun is told when its stream is: a stream that is refused after a complete list looks like a watch that is.
            Some(WatchStartFailed(kube::Error::Api(status))) => matches!(status.code, 400 | 405 | 422 | 501),
            None | Some(WatchFailed(_)) => self.in_list,
            Some(WatchError(status)) => self.in_list && status.code != 410,
            Some(_) => false,
        }
    }
}

/// Lists and watches, for ever.
///
/// Of a list that is a stream (on by default since Kubernetes 1.34) one object at a time is in memory, and it costs the server what there is, while for
/// each page etcd counts anew what is left. A list that fails as a stream is asked for in pages. However that ends, the next one is a stream again: what
/// ended this one may have passed.
async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    kind: &'static str,
    scope: &Scope,
    synced: Synced,
    mut on: impl FnMut(Event<K>) + Send,
) where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let namespace = scope.namespace.as_deref();
    let mut config = config.page_size(PAGE);
    let preferred = config.initial_list_strategy.clone();
    let (mut troubled, mut unstreamed) = (None, None);
    'anew: loop {
        let in_pages = config.initial_list_strategy != preferred;
        let heard = watcher(api.clone(), config.clone()).map_ok(|event| {
            let step = match event {
                Event::Init => Step::Begun,
                Event::InitApply(_) => Step::Told,
                Event::Apply(_) | Event::Delete(_) => Step::Heard,
                Event::InitDone => Step::Listed,
            };
            on(event);
            step
        });
        let mut steps = pin!(backed_off(heard));
        while let Some(step) = steps.next().await {
            match step {
                Ok(Step::Begun) if in_pages => break,
                Ok(Step::Begun) => {}
                Ok(step) => {
                    if troubled.take().is_some() {
                        tracing::info!(kind, namespace, "watch works again");
                    }
                    if step == Step::Listed {
                        unstreamed = unstreamed.filter(|_| in_pages);
                        synced.reached();
                        tracing::debug!(kind, namespace, "watch is in sync");
                    }
                }
                Err(failure) => {
                    let ends = failure.error.as_ref().is_some_and(is_gone_at_start) || (in_pages && failure.in_list);
                    if failure.error.as_ref().is_some_and(is_refused) {
                        synced.refused();
                    }
                    let wants_pages = config.initial_list_strategy == InitialListStrategy::StreamingList && failure.asks_for_pages();
                    let trouble = failure.error.map_or_else(|| "it ended before it had told all".to_owned(), trouble);
                    if wants_pages {
                        if unstreamed.as_ref() != Some(&trouble) {
                            tracing::info!(
                                kind,
                                namespace,
                                answer = trouble,
                                "the API server does not stream this list: it is asked for pages"
                            );
                            unstreamed = Some(trouble);
                        }
                        config.initial_list_strategy = InitialListStrategy::ListWatch;
                        continue 'anew;
                    }
                    // It comes every five seconds: told when it begins, and when it becomes another.
                    if troubled.as_ref() != Some(&trouble) {
                        tracing::warn!(kind, namespace, error = trouble, "watch failed, and is tried again until it works");
                        troubled = Some(trouble);
                    }
                    if ends {
                        break;
                    }
                }
            }
        }
        config.initial_list_strategy = preferred.clone();
        sleep(LONGEST_PAUSE).await;
    }
}

/// A 410 as the HTTP status of the watch itself: kube would ask for the same version for ever. Only a new watcher lists anew.
fn is_gone_at_start(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}

/// The operator may not list these, or not watch them.
fn is_refused(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    matches!(error, InitialListFailed(kube::Error::Api(status)) | WatchStartFailed(kube::Error::Api(status)) if status.code == 403)
}

/// Pauses after failures, longer and longer.
///
/// That a list is begun is no success, nor what it tells, or the pauses before a list that keeps failing would never grow. And a watch that has
/// expired is listed anew by itself: that is no failure to pause after, unless it expires again at once. Of a stream that ends before it has told
/// all kube says nothing, and begins it again.
fn backed_off(steps: impl Stream<Item = watcher::Result<Step>> + Send) -> impl Stream<Item = Result<Step, Failure>> + Send {
    let backoff = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times();
    let (mut in_list, mut is_begun) = (true, false);
    let mut expired_at: Option<Instant> = None;
    let mut counts = move |step: watcher::Result<Step>| {
        let was_begun = is_begun;
        is_begun = matches!(step, Ok(Step::Begun)) || (was_begun && matches!(step, Ok(Step::Told)));
        match step {
            Ok(Step::Begun) => {
                let is_another = !std::mem::replace(&mut in_list, true);
                if was_begun { Some(Err(Failure { error: None, in_list })) } else { is_another.then_some(Ok(Step::Begun)) }
            }
            Ok(Step::Told) => None,
            Ok(step) => {
                in_list = false;
                Some(Ok(step))
            }
            Err(error) => {
                let is_new = match &error {
                    watcher::Error::WatchError(status) if status.code == 410 => {
                        expired_at.replace(Instant::now()).is_some_and(|last| last.elapsed() < LONGEST_PAUSE)
                    }
                    _ => true,
                };
                is_new.then_some(Err(Failure { error: Some(error), in_list }))
            }
        }
    };
    steps.filter_map(move |step| ready(counts(step))).backoff(watcher::ExponentialBackoff::from(backoff))
}

fn trouble(error: watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            ApiTrouble::from(error).to_string()
        }
        watcher::Error::WatchError(status) => format!("HTTP {}", status.code),
        watcher::Error::NoResourceVersion => "the server's list has no resourceVersion".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use kube::core::Status;

    use super::*;

    fn expired() -> watcher::Result<Step> {
        Err(watcher::Error::WatchError(Status::failure("too old", "Expired").with_code(410).boxed()))
    }

    fn refused() -> watcher::Result<Step> {
        Err(watcher::Error::NoResourceVersion)
    }

    /// What comes out, and after how many whole half seconds.
    async fn heard(steps: Vec<watcher::Result<Step>>) -> Vec<(Option<Step>, u128)> {
        let began = Instant::now();
        let out = backed_off(stream::iter(steps)).map(|step| (step.ok(), began.elapsed().as_millis() / 500));
        out.collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn the_pauses_before_a_list_that_keeps_failing_grow_up_to_a_limit() {
        let steps = (0..20).flat_map(|_| [Ok(Step::Begun), refused()]).collect();
        let at: Vec<u128> = heard(steps).await.into_iter().map(|(_, at)| at).collect();
        assert_eq!(at.len(), 20);
        let pauses: Vec<u128> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses[0] < 3 && pauses.iter().skip(5).all(|pause| (10..=21).contains(pause)), "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_expired_is_listed_anew_at_once_and_one_that_expires_again_and_again_is_not() {
        let once = vec![Ok(Step::Heard), expired(), Ok(Step::Begun), Ok(Step::Listed)];
        assert_eq!(heard(once).await, [Step::Heard, Step::Begun, Step::Listed].map(|step| (Some(step), 0)));
        let again = (0..10).flat_map(|_| [Ok(Step::Begun), Ok(Step::Listed), expired()]).collect();
        let last = heard(again).await.last().copied().expect("not empty");
        assert!(last.1 >= 8, "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_ends_before_it_has_told_all_has_failed_and_what_it_told_is_no_success() {
        for end in [|| None, || Some(refused())] {
            let steps = (0..20).flat_map(|_| [Some(Ok(Step::Begun)), Some(Ok(Step::Told)), end()]).flatten().collect();
            let last = heard(steps).await.last().copied().expect("not empty");
            assert!(last.0.is_none() && last.1 >= 100, "{last:?}");
        }
        let whole = (0..10).flat_map(|_| [Ok(Step::Begun), Ok(Step::Told), Ok(Step::Listed)]).collect();
        assert_eq!(heard(whole).await.last(), Some(&(Some(Step::Listed), 0)));
    }

    #[tokio::test]
    async fn pages_are_asked_for_where_a_stream_fails_before_the_list_is_complete() {
        let start = |code| Err(watcher::Error::WatchStartFailed(kube::Error::Api(Status::failure("", "").with_code(code).boxed())));
        let within = |code| Err(watcher::Error::WatchError(Status::failure("", "").with_code(code).boxed()));
        let asks = async |steps: Vec<watcher::Result<Step>>| {
            backed_off(stream::iter(steps)).any(|step| ready(step.is_err_and(|failure| failure.asks_for_pages()))).await
        };
        for code in [400, 405, 422, 501] {
            assert!(asks(vec![start(code)]).await, "{code}");
        }
        for code in [401, 403, 410, 429, 500, 503] {
            assert!(!asks(vec![start(code)]).await, "{code}");
        }
        assert!(asks(vec![Ok(Step::Begun), Ok(Step::Told), within(500)]).await);
        assert!(asks(vec![Ok(Step::Begun), Ok(Step::Told), Ok(Step::Begun)]).await);
        assert!(!asks(vec![Ok(Step::Begun), within(410), Ok(Step::Begun), Ok(Step::Listed)]).await);
        assert!(!asks(vec![Ok(Step::Begun), Ok(Step::Listed), Ok(Step::Heard), within(500), start(500)]).await);
        // An API server that streams no more: after its watch has expired, kube says that a list is begun only when its stream is.
        assert!(asks(vec![Ok(Step::Begun), Ok(Step::Listed), within(410), start(422)]).await);
    }

    #[test]
    fn only_a_watch_that_is_refused_with_410_is_begun_from_the_start() {
        let refused = |code| watcher::Error::WatchStartFailed(kube::Error::Api(Status::failure("", "").with_code(code).boxed()));
        assert!(is_gone_at_start(&refused(410)));
        assert!(!is_gone_at_start(&refused(403)) && !is_gone_at_start(&watcher::Error::NoResourceVersion));
    }
}
