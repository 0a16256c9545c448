//! The key sets that Apps publish at their URLs, as a request finds them.

use std::fmt;
use std::sync::Arc;

use super::time::Timestamp;

/// The last JWK sets that were fetched. Nothing here waits for a source.
pub trait PublishedSets: Send + Sync + fmt::Debug {
    /// The text of the set at this URL, if it was fetched.
    fn find(&self, url: &str) -> Option<Arc<str>>;

    /// Asks for a newer set in the background, since a signature names a key that is not in it.
    fn miss(&self, url: &str, now: Timestamp);
}
