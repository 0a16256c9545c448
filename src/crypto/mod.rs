//! The only room that sees private bytes: secrets, keys, certificates, TLS policies and tokens.
//!
//! It is the home of rustls, rcgen and x509-parser, and one provider (aws-lc-rs) does all the arithmetic.

pub mod random;
pub mod hash;
pub mod der;
pub mod pem_fault;
pub mod pem;
pub mod keypair;
pub mod api_key;
pub mod seal;
pub mod signing_key;
pub mod content_digest;
pub mod public_key;
pub mod subject;
pub mod x509;
pub mod certificate_details;
pub mod pkcs10;
pub mod csr_file;
pub mod csr;
pub mod issue;
pub mod provider;
pub mod alert;
pub mod client_chain;
pub mod authority;
pub mod verifier;
pub mod chain;
pub mod pinned;
pub mod ticketer;
pub mod tls_error;
pub mod tls;
pub mod strict_json;
pub mod jwk;
pub mod signature_base;
pub mod http_signature;
pub mod foreign_jwt;
pub mod dpop;
pub mod issuer_token;
pub mod jwt;
pub mod access_token;
pub mod opaque;
pub mod assertion;
pub mod request;

#[cfg(test)]
pub mod jwk_testing;
#[cfg(test)]
mod testing;
