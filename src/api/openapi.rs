//! The OpenAPI document of the admin API, put together from what stands beside each operation.

use std::sync::LazyLock;

use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, OpenApi, PathItem, Ref, RefOr, ResponseBuilder,
};

use super::admin::router;

/// The document, in JSON.
pub fn json() -> Bytes {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
        let text = document().to_json();
        Bytes::from(text.expect("a document of plain values can be written"))
    });
    DOCUMENT.clone()
}

/// A refusal, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
struct ProblemSchema {
    /// `urn:countersign:reason:` and the reason.
    r#type: String,
    /// The title, in a few words.
    title: String,
    status: u16,
    /// The detail of the problem.
    detail: String,
    /// Advice for the caller.
    help: String,
    /// The stable code of the catalogue.
    reason: String,
    request_id: String,
}

const PROBLEM: &str = "Problem";
const ADMIN_TOKEN: &str = "admin_token";

fn document() -> OpenApi {
    let mut document = router::descriptions();
    document.info = InfoBuilder::new()
        .title("Countersign admin API")
        .description(Some(
            "What operators do with Countersign. Every change is in force when its answer arrives, and the receipt says so; what is made and shown once is answered with 201 even when a worker has not confirmed it, and the receipt says that.",
        ))
        .version(env!("CARGO_PKG_VERSION"))
        .build();
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(
        PROBLEM.to_owned(),
        <ProblemSchema as utoipa::PartialSchema>::schema(),
    );
    components.add_security_scheme(
        ADMIN_TOKEN,
        SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
    );
    let none: [&str; 0] = [];
    document.security = Some(vec![SecurityRequirement::new(ADMIN_TOKEN, none)]);
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            operation
                .responses
                .responses
                .insert("default".to_owned(), RefOr::T(refusal()));
        }
    }
    document
}

fn refusal() -> utoipa::openapi::Response {
    let schema = Ref::from_schema_name(PROBLEM);
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description("A refusal.")
        .content("application/problem+json", content)
        .build()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn described() -> BTreeSet<String> {
        let document: serde_json::Value = serde_json::from_slice(&json()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let each = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        each.collect()
    }

    /// The contract of the API for operators. A line that is removed or changed is a breaking change.
    #[test]
    fn the_document_holds_every_operation() {
        let promised = [
            "GET /api/v1/admin-tokens",
            "POST /api/v1/admin-tokens",
            "POST /api/v1/admin-tokens/{token}/revoke",
            "GET /api/v1/apps",
            "POST /api/v1/apps",
            "GET /api/v1/apps/{app}",
            "PATCH /api/v1/apps/{app}",
            "POST /api/v1/apps/{app}/resume",
            "POST /api/v1/apps/{app}/revoke",
            "POST /api/v1/apps/{app}/suspend",
            "GET /api/v1/audit",
            "GET /api/v1/certificates",
            "POST /api/v1/certificates",
            "GET /api/v1/certificates/{certificate}",
            "POST /api/v1/certificates/{certificate}/revoke",
            "POST /api/v1/csr/inspect",
            "GET /api/v1/drain",
            "POST /api/v1/drain",
            "GET /api/v1/keys",
            "POST /api/v1/keys",
            "GET /api/v1/keys/{key}",
            "POST /api/v1/keys/identify",
            "POST /api/v1/keys/import",
            "POST /api/v1/keys/{key}/revoke",
            "POST /api/v1/keys/{key}/rotate",
            "GET /api/v1/limits/boosts",
            "POST /api/v1/limits/boosts",
            "POST /api/v1/limits/boosts/{boost}/end",
            "GET /api/v1/openapi.json",
            "POST /api/v1/reload",
            "GET /api/v1/sessions",
            "GET /api/v1/sessions/{session}",
            "POST /api/v1/sessions/{session}/revoke",
            "GET /api/v1/status",
            "GET /api/v1/token-keys",
            "POST /api/v1/token-keys/rotate",
            "POST /api/v1/users/revoke",
        ];
        let promised: BTreeSet<String> = promised.map(str::to_owned).into_iter().collect();
        assert_eq!(described(), promised);
    }

    /// The router has no way to add a route but the one that describes it.
    #[test]
    fn no_route_is_added_without_its_description() {
        let source = include_str!("admin/router.rs");
        for door in [
            ".route(",
            ".nest(",
            ".merge(",
            ".route_service(",
            ".fallback(",
        ] {
            assert!(!source.contains(door), "{door}");
        }
    }

    #[test]
    fn every_operation_says_what_a_refusal_looks_like_and_which_token_it_wants() {
        let document: serde_json::Value = serde_json::from_slice(&json()).unwrap();
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                let refusal = &operation["responses"]["default"]["content"];
                let schema = &refusal["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem");
                assert!(operation["operationId"].is_string());
            }
        }
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for name in [
            "App",
            "Certificate",
            "Key",
            "AdminToken",
            "Problem",
            "Receipt",
        ] {
            assert!(schemas.contains_key(name), "{name} of {:?}", schemas.keys());
        }
        assert_eq!(
            document["security"][0]["admin_token"],
            serde_json::json!([])
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = String::from_utf8(json().to_vec()).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let schemas = &document["components"]["schemas"];
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas[name].is_object(), "{name}");
        }
    }
}
