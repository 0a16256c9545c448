//! The rules of the registry: the changes that are allowed, judged over what was read before.
//!
//! A rule takes the objects as they are and returns them as they will be, or a refusal. It reads nothing itself: the
//! control plane reads, and the store keeps what a rule has allowed.

pub mod change;
pub mod refusal;
pub mod apps;
pub mod boosts;
pub mod certificates;
pub mod keys;
pub mod sessions;
pub mod admin_tokens;
