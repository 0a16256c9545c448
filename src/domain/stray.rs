//! Stray characters around a secret, as files, shells and spreadsheets leave them.

/// The stray characters before or after a secret, in a sentence that shows nothing of it; `None` without any.
///
/// The secret itself is not checked, so the answer is the same for a right and a wrong one.
pub fn stray(secret: &str) -> Option<&'static str> {
    let first = secret.chars().next()?;
    let last = secret.chars().next_back()?;
    let sentence = match (first, last) {
        _ if MARKS.iter().any(|mark| secret.starts_with(mark)) => {
            "The secret begins with a byte order mark."
        }
        (_, '\n' | '\r') => "The secret ends in a line end.",
        ('\n' | '\r', _) => "The secret begins with a line end.",
        _ if ESCAPES.iter().any(|escape| secret.ends_with(escape)) => {
            "The secret ends in a line end, written as letters."
        }
        (_, blank) if blank.is_whitespace() => "The secret ends in a blank.",
        (blank, _) if blank.is_whitespace() => "The secret begins with a blank.",
        (first, last) if is_quote(first) && is_quote(last) => "The secret stands in quotes.",
        (quote, _) if is_quote(quote) => "The secret begins with a quote.",
        (_, quote) if is_quote(quote) => "The secret ends in a quote.",
        _ => return None,
    };
    Some(sentence)
}

/// The byte order mark, and its bytes when they are taken for Latin-1.
const MARKS: [&str; 2] = ["\u{feff}", "\u{ef}\u{bb}\u{bf}"];

/// Line ends as JSON, shells and addresses write them.
const ESCAPES: [&str; 4] = ["\\n", "\\r", "%0A", "%0D"];

const fn is_quote(character: char) -> bool {
    matches!(
        character,
        '"' | '\'' | '`' | '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' | '\u{201e}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_a_secret_is_named() {
        for (text, named) in [
            ("", None),
            ("s", None),
            ("sk_live_s", None),
            ("s s", None),
            ("s\n", Some("ends in a line end.")),
            ("s\r\n", Some("ends in a line end.")),
            ("s\r", Some("ends in a line end.")),
            ("\ns", Some("begins with a line end.")),
            ("s\\n", Some("ends in a line end, written as letters.")),
            ("s%0A", Some("ends in a line end, written as letters.")),
            ("s ", Some("ends in a blank.")),
            ("s\t", Some("ends in a blank.")),
            (" s", Some("begins with a blank.")),
            ("\u{a0}s", Some("begins with a blank.")),
            ("\u{feff}s\n", Some("begins with a byte order mark.")),
            (
                "\u{ef}\u{bb}\u{bf}s",
                Some("begins with a byte order mark."),
            ),
            ("\"s\"", Some("stands in quotes.")),
            ("'s'", Some("stands in quotes.")),
            ("\u{201c}s\u{201d}", Some("stands in quotes.")),
            ("\"s", Some("begins with a quote.")),
            ("s'", Some("ends in a quote.")),
        ] {
            let sentence = named.map(|named| format!("The secret {named}"));
            assert_eq!(stray(text), sentence.as_deref(), "{text:?}");
        }
    }
}
