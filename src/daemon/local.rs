//! The partner endpoints for the data plane: `proxy` must not depend on `api`, so they are connected here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use crate::api::partner::request::{LeafFacts, PartnerRequest, PeerFacts};
use crate::api::partner::service::PartnerService;
use crate::proxy::local::{LocalRequest, LocalService};

/// The partner endpoints, called at the end of an exchange.
#[derive(Debug)]
pub struct Local(pub Arc<PartnerService>);

impl LocalService for Local {
    fn call(&self, asked: LocalRequest) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send>> {
        let leaf = asked.peer.leaf.map(|leaf| LeafFacts {
            serial: leaf.serial,
            fingerprint: leaf.fingerprint,
            subject: leaf.subject.clone(),
            validity: leaf.validity,
        });
        let request = PartnerRequest {
            endpoint: asked.endpoint,
            request: asked.request,
            snapshot: asked.snapshot,
            peer: PeerFacts {
                address: asked.peer.address,
                certificate: asked.peer.certificate,
                leaf,
                tls_version: asked.peer.tls_version,
                sni: asked.peer.sni.map(String::from),
            },
            request_id: asked.request_id,
            now: asked.now,
        };
        // The call does not wait: it reads the snapshot and signs.
        let answer = self.0.answer(&request);
        Box::pin(async move { answer })
    }
}
