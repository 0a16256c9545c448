//! CSRs and files of PEM, read without a gateway.

use serde_json::Value;

use crate::config::root::Config;
use crate::crypto::{csr, csr_file};
use crate::domain::certificate::Profile;
use crate::domain::text;

/// The judgement of a CSR by a gateway with this configuration; without one, by the default profile.
pub fn csr_inspect(input: &[u8], config: Option<&Config>) -> Value {
    let profile = config.map_or_else(Profile::default, |config| {
        Profile::from(&config.authority.profile)
    });
    // The report has no maps with unusual keys and no numbers that JSON lacks.
    serde_json::to_value(csr::inspect(input, &profile.keys)).unwrap_or_default()
}

/// The CSR in a file as a text, which is how JSON carries it; the gateway judges files without one.
pub fn csr_text(bytes: &[u8]) -> String {
    csr_file::to_text(bytes)
}

/// The text of a file of PEM, decoded from any encoding.
pub fn pem_text(bytes: &[u8]) -> String {
    text::decode(bytes).into_owned()
}
