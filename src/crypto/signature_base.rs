//! The signature base (RFC 9421, 2.5): the text that the signature of a request is over, made from the request itself.

use std::borrow::Cow;
use std::collections::HashSet;

use data_encoding::BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sfv::{BareItem, Dictionary, FieldType, InnerList, Item, ListEntry, Parameters, Parser};

use crate::domain::reason::Reason;

/// The most components that a signature may cover: each is looked up among the request's fields.
const COMPONENTS_MAX: usize = 64;

/// The most of them with parameters: a whole field or query is read for each.
const WITH_PARAMETERS_MAX: usize = 8;

/// The characters that stay as they are in a query parameter (RFC 9421, 2.2.8).
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// The head of a request, as its caller has sent it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    pub method: &'m str,
    /// Lower case, without the default port.
    pub authority: &'m str,
    /// Path and query.
    pub target: &'m str,
    /// The fields in their order, with their names in lower case.
    pub fields: &'m [(&'m str, &'m [u8])],
}

impl<'m> Message<'m> {
    /// The value of a field: several of a name are joined (RFC 9421, 2.1).
    pub fn field(&self, name: &str) -> Option<Cow<'m, [u8]>> {
        let mut values = self.values(name);
        let first = values.next()?;
        let mut joined = Cow::Borrowed(first);
        for value in values {
            let all = joined.to_mut();
            all.extend_from_slice(b", ");
            all.extend_from_slice(value);
        }
        Some(joined)
    }

    fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'m [u8]> + use<'m, 'n> {
        let named = move |(known, value): &(&'m str, &'m [u8])| {
            (*known == name).then(|| value.trim_ascii())
        };
        self.fields.iter().filter_map(named)
    }

    pub fn path(&self) -> &'m str {
        let path = self
            .target
            .split_once('?')
            .map_or(self.target, |(path, _)| path);
        if path.is_empty() { "/" } else { path }
    }

    pub fn query(&self) -> Option<&'m str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
}

/// Refuses more components than are looked up. It costs nothing, so it comes before anything else.
pub(super) fn bounded(covered: &InnerList) -> Result<(), Reason> {
    let items = covered.items.iter();
    let with_parameters = items.filter(|item| !item.params.is_empty()).count();
    if covered.items.len() > COMPONENTS_MAX || with_parameters > WITH_PARAMETERS_MAX {
        return Err(Reason::SignatureMalformed);
    }
    Ok(())
}

/// The signature base of `message` for these components and parameters.
pub fn base(message: &Message<'_>, covered: &InnerList) -> Result<Vec<u8>, Reason> {
    bounded(covered)?;
    let mut seen = HashSet::new();
    let mut base = Vec::new();
    for item in &covered.items {
        let identifier = item.serialize();
        base.extend_from_slice(identifier.as_bytes());
        // A component that stands twice could hide what it covers.
        if !seen.insert(identifier) {
            return Err(Reason::SignatureMalformed);
        }
        base.extend_from_slice(b": ");
        base.extend_from_slice(&component(message, item).ok_or(Reason::SignatureMalformed)?);
        base.push(b'\n');
    }
    let parameters = vec![ListEntry::InnerList(covered.clone())].serialize();
    let parameters = parameters.ok_or(Reason::SignatureMalformed)?;
    base.extend_from_slice(b"\"@signature-params\": ");
    base.extend_from_slice(parameters.as_bytes());
    Ok(base)
}

/// The value of a component; none if the request does not have it, or if it is of a kind that is not supported.
fn component<'m>(message: &Message<'m>, item: &Item) -> Option<Cow<'m, [u8]>> {
    let name = text(&item.bare_item)?;
    match name.strip_prefix('@') {
        Some(derived) => self::derived(message, derived, &item.params),
        None => field(message, name, &item.params),
    }
}

fn derived<'m>(message: &Message<'m>, name: &str, params: &Parameters) -> Option<Cow<'m, [u8]>> {
    let value: Cow<'m, str> = match name {
        "query-param" => return query_param(message, params),
        _ if !params.is_empty() => return None,
        "method" => message.method.into(),
        "authority" => message.authority.into(),
        "scheme" => SCHEME.into(),
        "target-uri" => format!("{SCHEME}://{}{}", message.authority, message.target).into(),
        "request-target" => message.target.into(),
        "path" => message.path().into(),
        "query" => format!("?{}", message.query().unwrap_or_default()).into(),
        _ => return None,
    };
    Some(bytes(value))
}

/// The scheme of every request: the data plane speaks no plain HTTP.
const SCHEME: &str = "https";

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// The value of a query parameter that stands once (RFC 9421, 2.2.8).
fn query_param(message: &Message<'_>, params: &Parameters) -> Option<Cow<'static, [u8]>> {
    let wanted = text(params.get("name")?)?;
    if params.len() > 1 {
        return None;
    }
    let pairs = message.query().unwrap_or_default().split('&');
    let mut named = pairs.filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (encoded(name) == wanted).then(|| encoded(value))
    });
    let value = named.next()?;
    named.next().is_none().then(|| value.into_bytes().into())
}

/// The canonical form of a name or value in a query.
fn encoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8_lossy();
    utf8_percent_encode(&decoded, QUERY).to_string()
}

fn field<'m>(message: &Message<'m>, name: &str, params: &Parameters) -> Option<Cow<'m, [u8]>> {
    let mut params = params.iter();
    let param = params.next();
    if params.next().is_some() || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    match param.map(|(name, value)| (name.as_str(), value)) {
        None => message.field(name),
        Some(("bs", BareItem::Boolean(true))) => wrapped(message, name),
        Some(("key", member)) => {
            let member = text(member)?;
            let value = message.field(name)?;
            let dictionary: Dictionary = Parser::new(&value).parse().ok()?;
            let member = match dictionary.get(member)? {
                ListEntry::Item(item) => item.serialize(),
                list @ ListEntry::InnerList(_) => vec![list.clone()].serialize()?,
            };
            Some(member.into_bytes().into())
        }
        // `sf` needs the field's type, `req` is for answers, and trailers come too late.
        Some(_) => None,
    }
}

/// The values of a field, each as a byte sequence (RFC 9421, 2.1.3).
fn wrapped(message: &Message<'_>, name: &str) -> Option<Cow<'static, [u8]>> {
    let values = message.values(name);
    let wrapped: Vec<_> = values
        .map(|value| format!(":{}:", BASE64.encode(value)))
        .collect();
    (!wrapped.is_empty()).then(|| wrapped.join(", ").into_bytes().into())
}

/// The text of a structured string.
pub(super) fn text(item: &BareItem) -> Option<&str> {
    item.as_string().map(sfv::StringRef::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 9421, appendix B.2, and some fields of section 2.
    const MESSAGE: Message<'_> = Message {
        method: "POST",
        authority: "example.com",
        target: "/foo?param=Value&Pet=dog",
        fields: &[
            ("date", b"Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", b"application/json"),
            ("content-digest", b"sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"),
            ("content-length", b"18"),
            ("example-dict", b" a=1,    b=2;x=1;y=2,   c=(a   b   c), d "),
            ("cache-control", b"max-age=60"),
            ("cache-control", b"   must-revalidate  "),
            ("example-header", b"value, with, lots"),
            ("example-header", b"of, commas"),
        ],
    };

    fn list(text: &str) -> InnerList {
        let list: Vec<ListEntry> = Parser::new(text).parse().unwrap();
        match list.into_iter().next() {
            Some(ListEntry::InnerList(list)) => list,
            other => panic!("{other:?}"),
        }
    }

    fn based(message: &Message<'_>, covered: &str) -> Result<String, Reason> {
        base(message, &list(covered)).map(|base| String::from_utf8(base).unwrap())
    }

    #[test]
    fn the_bases_of_the_standard_are_made() {
        // Appendix B.2.2.
        let covered = "(\"@authority\" \"content-digest\" \"@query-param\";name=\"Pet\");created=1618884473;keyid=\"test-key-rsa-pss\";tag=\"header-example\"";
        let expected = format!(
            "\"@authority\": example.com\n\
             \"content-digest\": sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:\n\
             \"@query-param\";name=\"Pet\": dog\n\
             \"@signature-params\": {covered}"
        );
        assert_eq!(based(&MESSAGE, covered), Ok(expected));
        // Appendix B.2.3.
        let covered = "(\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\"";
        let expected = format!(
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
             \"@method\": POST\n\
             \"@path\": /foo\n\
             \"@query\": ?param=Value&Pet=dog\n\
             \"@authority\": example.com\n\
             \"content-type\": application/json\n\
             \"content-length\": 18\n\
             \"@signature-params\": {covered}"
        );
        assert_eq!(based(&MESSAGE, covered), Ok(expected));
    }

    #[test]
    fn each_component_has_the_value_of_the_standard() {
        for (covered, expected) in [
            (
                "\"@target-uri\"",
                "https://example.com/foo?param=Value&Pet=dog",
            ),
            ("\"@scheme\"", "https"),
            ("\"@request-target\"", "/foo?param=Value&Pet=dog"),
            ("\"cache-control\"", "max-age=60, must-revalidate"),
            (
                "\"example-dict\"",
                "a=1,    b=2;x=1;y=2,   c=(a   b   c), d",
            ),
            ("\"example-dict\";key=\"a\"", "1"),
            ("\"example-dict\";key=\"b\"", "2;x=1;y=2"),
            ("\"example-dict\";key=\"c\"", "(a b c)"),
            ("\"example-dict\";key=\"d\"", "?1"),
            (
                "\"example-header\";bs",
                ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:",
            ),
        ] {
            let base = based(&MESSAGE, &format!("({covered})")).unwrap();
            assert_eq!(
                base,
                format!("{covered}: {expected}\n\"@signature-params\": ({covered})")
            );
        }
        // Section 2.2.8.
        let query = Message {
            target: "/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something",
            ..MESSAGE
        };
        for (name, expected) in [
            ("var", "this%20is%20a%20big%0Amultiline%20value"),
            ("bar", "with%20plus%20whitespace"),
            ("fa%C3%A7ade%22%3A%20", "something"),
        ] {
            let covered = format!("\"@query-param\";name=\"{name}\"");
            let base = based(&query, &format!("({covered})")).unwrap();
            assert!(
                base.starts_with(&format!("{covered}: {expected}\n")),
                "{base}"
            );
        }
        let without = Message {
            target: "",
            ..MESSAGE
        };
        let base = based(&without, "(\"@path\" \"@query\")").unwrap();
        assert!(base.starts_with("\"@path\": /\n\"@query\": ?\n"), "{base}");
    }

    #[test]
    fn what_is_absent_doubled_or_not_supported_has_no_base() {
        let twice = Message {
            target: "/?a=1&a=2",
            ..MESSAGE
        };
        for (message, covered) in [
            (&MESSAGE, "\"x-absent\""),
            (&MESSAGE, "\"date\" \"date\""),
            (&MESSAGE, "\"Date\""),
            (&MESSAGE, "\"date\";sf"),
            (&MESSAGE, "\"date\";tr"),
            (&MESSAGE, "\"date\";req"),
            (&MESSAGE, "\"date\";bs;key=\"a\""),
            (&MESSAGE, "\"date\";bs=?0"),
            (&MESSAGE, "\"@method\";req"),
            (&MESSAGE, "\"@status\""),
            (&MESSAGE, "\"@signature-params\""),
            (&MESSAGE, "\"@query-param\""),
            (&MESSAGE, "\"@query-param\";name=\"absent\""),
            (&MESSAGE, "\"example-dict\";key=\"absent\""),
            (&MESSAGE, "date"),
            (&twice, "\"@query-param\";name=\"a\""),
        ] {
            let refused = based(message, &format!("({covered})"));
            assert_eq!(refused, Err(Reason::SignatureMalformed), "{covered}");
        }
        let many = format!("({})", "\"date\" ".repeat(COMPONENTS_MAX + 1));
        assert_eq!(based(&MESSAGE, &many), Err(Reason::SignatureMalformed));
    }

    #[test]
    fn few_components_read_a_whole_field_or_query() {
        let query: Vec<_> = (0..=WITH_PARAMETERS_MAX)
            .map(|n| format!("q{n}=v"))
            .collect();
        let target = format!("/?{}", query.join("&"));
        let message = Message {
            target: &target,
            ..MESSAGE
        };
        let covered = |count: usize| {
            let named: Vec<_> = (0..count)
                .map(|n| format!("\"@query-param\";name=\"q{n}\""))
                .collect();
            format!("({})", named.join(" "))
        };
        assert!(based(&message, &covered(WITH_PARAMETERS_MAX)).is_ok());
        assert_eq!(
            based(&message, &covered(WITH_PARAMETERS_MAX + 1)),
            Err(Reason::SignatureMalformed)
        );
    }
}
