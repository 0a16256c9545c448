//! The registry as the handshake sees it, on listeners that refuse invalid certificates by alert.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::crypto::verifier::RegistryView;
use crate::domain::certificate::Fingerprint;
use crate::domain::reason::Reason;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Clock, Validity};

/// The registry in the data plane's current snapshot.
#[derive(Debug)]
pub struct LiveRegistry {
    pub live: Arc<ArcSwap<Snapshot>>,
    pub clock: Arc<dyn Clock>,
}

impl RegistryView for LiveRegistry {
    fn judge(&self, fingerprint: &Fingerprint, validity: &Validity) -> Result<(), Reason> {
        let judged = self
            .live
            .load()
            .judge(fingerprint, validity, self.clock.now());
        judged.map(|_proof| ())
    }
}
