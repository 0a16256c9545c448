//! "Did you mean …?": the known word nearest to an unknown one.

/// The candidate nearest to `word`, if one is near enough to be meant.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = fold(word);
    // Longer words cannot be near any of ours, and the distance costs the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(word.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Spellings that differ in case and in `-` for `_` are the same to people.
fn fold(word: &str) -> Vec<char> {
    let plain = |character: char| match character {
        '-' | ' ' => '_',
        other => other.to_ascii_lowercase(),
    };
    word.chars().take(65).map(plain).collect()
}

/// Letters to insert, remove, replace or swap to make one word of the other.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, wanted) in other.iter().enumerate() {
            let at =
                |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, column) + usize::from(letter != wanted))
                .min(at(&last, column + 1) + 1)
                .min(at(&line, column) + 1);
            let swapped = row > 0
                && column > 0
                && one.get(row - 1) == Some(wanted)
                && other.get(column - 1) == Some(letter);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut last, line);
    }
    last.last().copied().unwrap_or(0)
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
