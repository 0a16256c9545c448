//! The metadata of other issuers, which name the URL of their keys (`OpenID` Connect Discovery; RFC 8414).

use std::sync::Arc;

use serde::Deserialize;

use super::fetch::Fetch;

/// The path of the metadata behind the issuer, as `OpenID` providers have it.
const OPENID: &str = "/.well-known/openid-configuration";

/// The path of the metadata between the issuer's host and its path (RFC 8414, 3).
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// The members that are read. A document has many others.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// The URL of the JWK set of `issuer`: by its `OpenID` metadata, or where it has none, by those of RFC 8414.
pub(super) async fn url_of_set(
    client: &dyn Fetch,
    issuer: &str,
    allow_private: bool,
) -> Result<Arc<str>, String> {
    let mut fault = String::new();
    for place in places(issuer) {
        match client.fetch(Arc::clone(&place), allow_private).await {
            Ok(document) => return read(&document, issuer),
            Err(why) if fault.is_empty() => fault = format!("{place}: {why}"),
            Err(_) => {}
        }
    }
    Err(fault)
}

fn places(issuer: &str) -> [Arc<str>; 2] {
    let base = issuer.trim_end_matches('/');
    let scheme = base.find("://").map_or(0, |at| at + 3);
    let (_, behind) = base.split_at(scheme);
    let host_ends = scheme + behind.find('/').unwrap_or(behind.len());
    let (host, path) = base.split_at(host_ends);
    [
        format!("{base}{OPENID}").into(),
        format!("{host}{OAUTH}{path}").into(),
    ]
}

/// Metadata of another issuer are refused: they could hand its keys out as those of this one.
fn read(document: &[u8], issuer: &str) -> Result<Arc<str>, String> {
    let metadata: Metadata = serde_json::from_slice(document)
        .ok()
        .ok_or("the metadata have no issuer and no jwks_uri")?;
    if metadata.issuer != issuer {
        return Err("the metadata are those of another issuer".to_owned());
    }
    if !metadata.jwks_uri.starts_with("https://") {
        return Err("the jwks_uri of the metadata is no https URL".to_owned());
    }
    Ok(metadata.jwks_uri.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_standards_have_their_own_place() {
        for (issuer, openid, oauth) in [
            (
                "https://idp.test",
                "https://idp.test/.well-known/openid-configuration",
                "https://idp.test/.well-known/oauth-authorization-server",
            ),
            (
                "https://idp.test:8443/realms/a/",
                "https://idp.test:8443/realms/a/.well-known/openid-configuration",
                "https://idp.test:8443/.well-known/oauth-authorization-server/realms/a",
            ),
        ] {
            assert_eq!(
                places(issuer).each_ref().map(|place| &**place),
                [openid, oauth]
            );
        }
    }

    #[test]
    fn metadata_of_another_issuer_count_for_nothing() {
        let check = |issuer: &str, uri: &str| {
            let document = serde_json::json!({"issuer": issuer, "jwks_uri": uri, "x": []});
            read(document.to_string().as_bytes(), "https://idp.test")
        };
        let good = check("https://idp.test", "https://keys.test/jwks");
        assert_eq!(good.as_deref(), Ok("https://keys.test/jwks"));
        assert!(check("https://idp.test/", "https://keys.test/jwks").is_err());
        assert!(check("https://evil.test", "https://keys.test/jwks").is_err());
        assert!(check("https://idp.test", "http://keys.test/jwks").is_err());
        assert!(read(b"[]", "https://idp.test").is_err());
    }
}
