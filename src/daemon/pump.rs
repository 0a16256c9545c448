//! The link between the planes: publications go to the data plane, and its receipts go back.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::control::key_uses::UsesAsked;
use crate::control::publish::Publication;
use crate::control::published_keys::PublishedKeys;
use crate::domain::issuer::Source;
use crate::domain::time::Clock;
use crate::proxy::plane::Proxy;

/// The maximum number of publications that wait for the data plane; more make the control plane wait.
pub const WAITING_MAX: usize = 64;

/// The maximum number of requests for keys that wait: one for each issuer and some more. Others are lost.
pub const MISSED_MAX: usize = 64;

/// Answers the control plane's questions for the uses of keys, until nobody asks any more.
pub async fn tell_key_uses(mut questions: mpsc::Receiver<UsesAsked>, proxy: Arc<Proxy>) {
    while let Some(answer) = questions.recv().await {
        // A question that is no longer awaited loses what it was told: later uses say more.
        let _heard = answer.send(proxy.take_key_uses().await);
    }
}

/// Asks for newer keys of the issuers whose tokens name an unknown one, until nobody asks any more.
pub async fn ask_for_keys(
    mut missed: mpsc::Receiver<Source>,
    published: Arc<PublishedKeys>,
    clock: Arc<dyn Clock>,
) {
    while let Some(source) = missed.recv().await {
        published.miss(&source, clock.now());
    }
}

/// Passes every publication to the data plane, in order, until there are no publishers left.
pub async fn pump(mut publications: mpsc::Receiver<Publication>, proxy: Arc<Proxy>) {
    while let Some(publication) = publications.recv().await {
        let receipt = proxy
            .publish(publication.snapshot, &publication.ended)
            .await;
        if publication.receipt.send(receipt).is_err() {
            tracing::warn!(
                version = receipt.version,
                "the receipt was no longer awaited"
            );
        }
    }
}
