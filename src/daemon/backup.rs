//! `countersign store backup`: a copy of the store, independent of the gateway that uses it.

use std::path::Path;

use anyhow::Context as _;

use crate::store::sqlite::copy;

/// Copies the store at `store` to the new file `to`.
pub fn backup(store: &Path, to: &Path) -> anyhow::Result<()> {
    copy::copy(store, to)
        .with_context(|| format!("copying the store {} to {}", store.display(), to.display()))
}
