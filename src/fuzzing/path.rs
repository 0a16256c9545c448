//! A path: one form, whose segments are those that were sent, and nothing in it that an upstream may read as more.

use crate::domain::path::Path;

/// Reads `bytes` as the path of a target; true when a route could take it without its operator's leave.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(raw) = std::str::from_utf8(bytes) else {
        return false;
    };
    let Ok(path) = Path::read(raw) else {
        assert!(!is_plain(raw), "a plain path is refused");
        return false;
    };
    let text = path.as_str();
    assert!(text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!text.contains(['?', '#']), "the path ends where it did not");
    let again = Path::read(text).unwrap();
    assert_eq!(again.as_str(), text, "there are two forms");
    assert_eq!(is_odd(&again), is_odd(&path));
    assert_eq!(decoded(text), decoded(raw), "another path is matched");
    if is_odd(&path) {
        return false;
    }
    let names = decoded(text);
    for (place, name) in names.iter().enumerate() {
        assert_is_a_name(name, place + 1 == names.len());
    }
    true
}

/// Whether somebody may read it in another way.
fn is_odd(path: &Path<'_>) -> bool {
    let readings = path.readings();
    readings.is_some_and(|readings| !readings.oddities.is_empty())
}

/// Whether nobody could see anything in a path but letters and digits.
fn is_plain(raw: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'/';
    raw.starts_with('/') && raw.bytes().all(plain)
}

/// The segments as an upstream sees them that splits first and decodes afterwards.
fn decoded(path: &str) -> Vec<Vec<u8>> {
    path[1..].split('/').map(decode).collect()
}

fn decode(segment: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), segment.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *byte == b'%');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(value) = code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            out.push(value);
            rest = &after[2..];
        } else {
            out.push(*byte);
            rest = after;
        }
    }
    out
}

/// A segment that is one for every reader: no empty one, no step up or aside, no separator in disguise.
fn assert_is_a_name(name: &[u8], is_last: bool) {
    assert!(is_last || !name.is_empty(), "an empty segment");
    let text = std::str::from_utf8(name).unwrap();
    // Some readers end a path at its first `#` or `?`, and some trim what they split.
    let cut = text.split(['#', '?']).next().unwrap();
    assert!(!matches!(cut.trim(), "." | ".."), "a step: {text:?}");
    assert!(!text.contains(['/', '\\', ';', '%']), "{text:?}");
    assert!(!text.contains(char::is_control) || !text.is_ascii());
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_paths_keeps_its_properties() {
        super::super::corpus::holds("path", super::check);
    }
}
