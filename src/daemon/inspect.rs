//! Judging a certificate signing request without a gateway.

use serde_json::Value;

use crate::config::root::Config;
use crate::crypto::csr;
use crate::domain::certificate::Profile;

/// What a gateway with this configuration would say of the request; without one, by the default profile.
pub fn csr_inspect(input: &[u8], config: Option<&Config>) -> Value {
    let profile = config.map_or_else(Profile::default, Config::profile);
    // The report has no maps with odd keys and no numbers that JSON lacks.
    serde_json::to_value(csr::inspect(input, &profile.keys)).unwrap_or_default()
}
