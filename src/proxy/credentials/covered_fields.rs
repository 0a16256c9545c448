//! The fields that a signature covers have to reach the upstream: what was signed and is removed would be missing there
//! without a trace.

use crate::crypto::http_signature::Signature;
use crate::crypto::signature_base::Message;
use crate::domain::issuer::ToldNames;
use crate::domain::reason::Reason;

use crate::proxy::fields::headers::{CONNECTION_OPTIONS_MAX, is_replaced};

/// Refuses a signature that covers a field which the gateway removes or sets, or which `Connection` names. `Connection`
/// is not signed: a hop on the way could have a field removed by it. `told` are the fields in which upstreams get claims.
pub fn reach_the_upstream(
    signature: &Signature,
    message: &Message<'_>,
    told: Option<&ToldNames>,
) -> Result<(), Reason> {
    let connection = message.field("connection").unwrap_or_default();
    let options = connection.split(|byte| *byte == b',');
    let options = options.map(<[u8]>::trim_ascii);
    // A request with more of them is refused in any case.
    let named: Vec<&[u8]> = options
        .filter(|option| !option.is_empty())
        .take(CONNECTION_OPTIONS_MAX)
        .collect();
    let is_named = |name: &str| {
        let mut named = named.iter();
        named.any(|option| option.eq_ignore_ascii_case(name.as_bytes()))
    };
    if signature
        .fields()
        .any(|name| is_replaced(name, told) || is_named(name))
    {
        return Err(Reason::SignatureMalformed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::http_signature;
    use crate::domain::id::KeyId;

    fn check(component: &str, connection: &[&str]) -> Result<(), Reason> {
        let id = KeyId::from_bits(1);
        let input = format!("a=(\"@method\" {component});created=1;keyid=\"{id}\"");
        let mut fields: Vec<(&str, &[u8])> = vec![
            ("signature-input", input.as_bytes()),
            ("signature", b"a=:AAAA:"),
        ];
        fields.extend(
            connection
                .iter()
                .map(|text| ("connection", text.as_bytes())),
        );
        let message = Message {
            method: "GET",
            authority: "a.test",
            target: "/",
            fields: &fields,
        };
        let signature = http_signature::find(&message).unwrap().unwrap();
        reach_the_upstream(&signature, &message, None)
    }

    #[test]
    fn a_covered_field_is_not_one_that_connection_names() {
        let key = "\"idempotency-key\"";
        assert_eq!(check(key, &[]), Ok(()));
        assert_eq!(check(key, &["close", "keep-alive, x-other"]), Ok(()));
        for connection in [
            &["idempotency-key"][..],
            &["close", ", ,Idempotency-Key "],
            &["keep-alive, IDEMPOTENCY-KEY"],
        ] {
            for key in [
                key,
                "\"idempotency-key\";bs",
                "\"idempotency-key\";key=\"a\"",
            ] {
                let refused = check(key, connection);
                assert_eq!(refused, Err(Reason::SignatureMalformed), "{connection:?}");
            }
        }
    }

    #[test]
    fn a_covered_field_is_not_one_that_the_gateway_removes() {
        for kept in ["host", "date", "cookie", "authorization", "content-length"] {
            assert_eq!(check(&format!("\"{kept}\""), &[]), Ok(()), "{kept}");
        }
        for removed in [
            "connection",
            "te",
            "x-request-id",
            "x-forwarded-for",
            "x-countersign-app",
            "client-cert",
        ] {
            let refused = check(&format!("\"{removed}\""), &[]);
            assert_eq!(refused, Err(Reason::SignatureMalformed), "{removed}");
        }
    }
}
