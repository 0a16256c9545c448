//! Identity headers for upstreams: our own fields, those of RFC 9440, and the presets of other proxies.

pub mod identity_fields;
pub mod caller;
pub mod fields;
pub mod certificate;
pub mod encode;

pub mod ours;
pub mod rfc9440;
pub mod alb;
pub mod kong;
pub mod nginx;
pub mod traefik;
pub mod xfcc;

pub mod assertion;
pub mod claims;

#[cfg(test)]
mod testing;
