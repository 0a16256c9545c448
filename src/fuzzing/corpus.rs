//! The corpora as tests.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Feeds every file of a corpus to a target, which says whether it accepted the bytes.
#[track_caller]
pub fn holds(target: &str, check: fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let (mut accepted, mut refused) = (0, 0);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let outcome = catch_unwind(|| check(&bytes)).ok();
        let Some(is_accepted) = outcome else {
            panic!("{}: the property above does not hold", path.display());
        };
        if is_accepted {
            accepted += 1;
        } else {
            refused += 1;
        }
    }
    // A corpus of one kind only would say nothing of the other.
    assert!(accepted >= 5, "only {accepted} files are accepted");
    assert!(refused >= 5, "only {refused} files are refused");
}
