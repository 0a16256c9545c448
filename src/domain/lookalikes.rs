//! Characters that some servers read as others, which separate or end the parts of a path.

/// The text that a server reads after normalisation (Unicode's form NFKC), if it has one of `. / \ % ; # ?`.
pub fn read_as(character: char) -> Option<&'static str> {
    let place = TABLE.binary_search_by_key(&character, |(known, _)| *known);
    TABLE.get(place.ok()?).map(|(_, text)| *text)
}

/// True for an invisible character: servers are known to cut these off the ends of a name.
pub fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

/// All of them, in their order; a test compares them with the Unicode tables.
const TABLE: [(char, &str); 52] = [
    ('\u{37e}', ";"),
    ('\u{2024}', "."),
    ('\u{2025}', ".."),
    ('\u{2026}', "..."),
    ('\u{2047}', "??"),
    ('\u{2048}', "?!"),
    ('\u{2049}', "!?"),
    ('\u{2100}', "a/c"),
    ('\u{2101}', "a/s"),
    ('\u{2105}', "c/o"),
    ('\u{2106}', "c/u"),
    ('\u{2488}', "1."),
    ('\u{2489}', "2."),
    ('\u{248a}', "3."),
    ('\u{248b}', "4."),
    ('\u{248c}', "5."),
    ('\u{248d}', "6."),
    ('\u{248e}', "7."),
    ('\u{248f}', "8."),
    ('\u{2490}', "9."),
    ('\u{2491}', "10."),
    ('\u{2492}', "11."),
    ('\u{2493}', "12."),
    ('\u{2494}', "13."),
    ('\u{2495}', "14."),
    ('\u{2496}', "15."),
    ('\u{2497}', "16."),
    ('\u{2498}', "17."),
    ('\u{2499}', "18."),
    ('\u{249a}', "19."),
    ('\u{249b}', "20."),
    ('\u{33c2}', "a.m."),
    ('\u{33c7}', "Co."),
    ('\u{33d8}', "p.m."),
    ('\u{fe14}', ";"),
    ('\u{fe16}', "?"),
    ('\u{fe19}', "..."),
    ('\u{fe30}', ".."),
    ('\u{fe52}', "."),
    ('\u{fe54}', ";"),
    ('\u{fe56}', "?"),
    ('\u{fe5f}', "#"),
    ('\u{fe68}', "\\"),
    ('\u{fe6a}', "%"),
    ('\u{ff03}', "#"),
    ('\u{ff05}', "%"),
    ('\u{ff0e}', "."),
    ('\u{ff0f}', "/"),
    ('\u{ff1b}', ";"),
    ('\u{ff1f}', "?"),
    ('\u{ff3c}', "\\"),
    ('\u{1f100}', "0."),
];

#[cfg(test)]
mod tests {
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    #[test]
    fn the_table_is_complete() {
        for character in '\u{80}'..=char::MAX {
            let normal: String = std::iter::once(character).nfkc().collect();
            let separates = normal.contains(['.', '/', '\\', '%', ';', '#', '?']);
            let expected = separates.then_some(normal.as_str());
            assert_eq!(
                read_as(character),
                expected,
                "U+{:04X}",
                u32::from(character)
            );
        }
    }

    #[test]
    fn what_shows_nothing_is_blank() {
        for blank in [
            ' ', '\t', '\0', '\u{85}', '\u{a0}', '\u{3000}', '\u{200b}', '\u{feff}',
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for shown in ['a', '.', '\u{e4}', '\u{2025}'] {
            assert!(!is_blank(shown), "{shown:?}");
        }
    }
}
