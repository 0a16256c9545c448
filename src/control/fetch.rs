//! Documents that others publish: the client that fetches them is given to the control plane.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

/// A fetch that is under way: the document, or the fault in words for the operator.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;

/// A client that fetches documents.
pub trait Fetch: Send + Sync + Debug {
    /// Fetches the document at `url`, from a private address only if the operator has allowed that.
    fn fetch(&self, url: Arc<str>, allow_private: bool) -> Fetching;
}
