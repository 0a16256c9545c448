//! "Did you mean …?": the known word nearest to an unknown one.

use strsim::osa_distance;

/// The candidate nearest to `word`, if one is near enough to be meant.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = fold(word);
    let length = word.chars().count();
    // Longer words cannot be near any of ours, and the distance costs the product of the lengths.
    if length > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (osa_distance(&word, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(length) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Spellings that differ in case and in `-` for `_` are the same to people.
fn fold(word: &str) -> String {
    let plain = |character: char| match character {
        '-' | ' ' => '_',
        other => other.to_ascii_lowercase(),
    };
    word.chars().take(65).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_nearest_known_word_is_suggested() {
        let known = [
            "listeners",
            "upstreams",
            "endpoints",
            "require",
            "tls",
            "ttl_bound",
        ];
        for (word, expected) in [
            ("listener", Some("listeners")),
            ("upstraems", Some("upstreams")),
            ("Endpoints", Some("endpoints")),
            ("ttl-bound", Some("ttl_bound")),
            ("requires", Some("require")),
            ("tsl", Some("tls")),
            ("something", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }

    proptest! {
        #[test]
        fn any_word_is_measured(word in "\\PC{0,80}") {
            let found = nearest(&word, ["listeners", "tls"]);
            prop_assert!(found.is_none() || word.chars().count() < 20);
        }
    }
}
