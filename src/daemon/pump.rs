//! The link between the planes: publications go to the data plane, and its receipts go back.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::control::key_uses::UsesAsked;
use crate::control::publish::Publication;
use crate::proxy::plane::Proxy;

/// The maximum number of publications that wait for the data plane; more make the control plane wait.
pub const WAITING_MAX: usize = 64;

/// Answers the control plane's questions for the uses of keys, until nobody asks any more.
pub async fn tell_key_uses(mut questions: mpsc::Receiver<UsesAsked>, proxy: Arc<Proxy>) {
    while let Some(answer) = questions.recv().await {
        // A question that is no longer awaited loses what it was told: later uses say more.
        let _heard = answer.send(proxy.take_key_uses().await);
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
