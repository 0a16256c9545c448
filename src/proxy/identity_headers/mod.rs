//! Identity headers for upstreams, in the forms that they can read.

pub mod identity_fields;
