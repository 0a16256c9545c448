//! Users, as Apps name them: the gateway knows their sessions and nothing else of them.

pub mod revoke;
