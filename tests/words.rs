//! The words and the links of the documents, checked: plain terms, doc comments that begin with a noun, no dead link.
//!
//! The lexicon decides which words these are. A word is banned here when the field has a better one.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says why"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Words and phrases with a better one beside them.
const BANNED: &[(&str, &str)] = &[
    ("anew", "again, or new"),
    ("are told", "get, or learn"),
    ("counts again", "is valid again"),
    ("counts no", "is no longer valid"),
    ("did not count", "was not valid"),
    ("do not count", "are not valid"),
    ("does not count", "is not valid"),
    ("for ever", "permanently"),
    ("go on counting", "stay valid"),
    ("goes on counting", "stays valid"),
    ("is told", "gets, or learns"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("spare an", "eject an"),
    ("spared", "ejected"),
    ("still counts", "is still valid"),
    ("whatever", "name the thing"),
    ("which counts", "which is valid"),
    ("whoever", "anyone who, or name the person"),
    ("whomever", "name the person"),
];

/// Words that do not begin a doc comment: the thing's name does.
const OPENERS: &[&str] = &[
    "How", "Whatever", "When", "Where", "Whether", "Which", "Who", "Whoever", "Whom", "Whose",
    "What", "Why",
];

/// Rooms whose doc comments are checked. Operators read some of them, in the configuration, `--help` and the API's
/// description.
const ROOMS: &[&str] = &[
    "src/api",
    "src/cli",
    "src/config",
    "src/control",
    "src/crypto",
    "src/daemon",
    "src/domain",
    "src/net",
    "src/proxy",
    "src/store",
];

/// The page that names the words to avoid.
const LEXICON: &str = "docs/lexicon.md";

/// Pages that are never edited.
const FROZEN: &str = "docs/decisions";

/// Pages for engineers, whose files and tests are checked.
const GUIDES: &[&str] = &[
    "ARCHITECTURE.md",
    "docs/data-model.md",
    "docs/life-of-a-request.md",
];

/// The page whose invariants name their tests.
const INVARIANTS: &str = "ARCHITECTURE.md";

#[test]
fn the_documents_and_messages_use_plain_words() {
    let mut found = Vec::new();
    for path in documents() {
        if path != LEXICON && !path.starts_with(FROZEN) {
            found.extend(banned(&path, &read(&path)));
        }
    }
    for path in below("src", "rs") {
        found.extend(banned(&path, &spoken(&path, &read(&path))));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn doc_comments_begin_with_the_things_name() {
    let files = ROOMS.iter().flat_map(|room| below(room, "rs"));
    let found: Vec<String> = files
        .flat_map(|path| openers(&path, &read(&path)))
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_link_leads_somewhere() {
    let found: Vec<String> = documents()
        .into_iter()
        .filter(|path| has_extension(path, "md"))
        .flat_map(|path| dead_links(&path, &read(&path)))
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_guides_name_files_and_tests_that_exist() {
    let mut found = Vec::new();
    for path in GUIDES {
        let page = read(path);
        found.extend(missing_files(path, &page));
        found.extend(missing_tests(path, &page));
    }
    found.extend(unheld(INVARIANTS, &read(INVARIANTS)));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// Each fault that is planted here is found, or the tests above could not fail.
#[test]
fn planted_faults_are_found() {
    for (text, expected) in [
        ("fine\nMade Anew.", "a.md:2: anew (better: again, or new)"),
        (
            "Ask whoever answers.",
            "a.md:1: whoever (better: anyone who, or name the person)",
        ),
        (
            "a certificate that does not\ncount",
            "a.md:1: does not count (better: is not valid)",
        ),
    ] {
        assert_eq!(banned("a.md", text), [expected]);
    }
    for fine in [
        "The page counts requests.",
        "amended, newspaper",
        "a renewal",
    ] {
        assert_eq!(banned("a.md", fine), [""; 0], "{fine}");
    }

    let code = "let a = 1; // whatever\nerror!(\"whoever calls\");\n#[cfg(test)]\n\"anew\"";
    let heard = banned("src/proxy/a.rs", &spoken("src/proxy/a.rs", code));
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].starts_with("src/proxy/a.rs:2: whoever"));
    let code = "/// Whatever comes.\nfn a() {}";
    assert_eq!(banned("a", &spoken("src/cli/a.rs", code)).len(), 1);

    let code = "/// Whether it is.\nfn a() {}\n/// The time\n/// When it ends.\n//! How.\n";
    let expected = ["a.rs:1: Whether it is.", "a.rs:5: How."];
    assert_eq!(openers("a.rs", code), expected);

    let page =
        "`src/lib.rs`\n```\nsrc/none.rs ─ tests/run.\n```\n`proxy/none.rs`, `src/main.rs::a`";
    let expected = ["a.md:3: src/none.rs", "a.md:5: src/proxy/none.rs"];
    assert_eq!(missing_files("a.md", page), expected);
    let page =
        "`tests/words.rs::planted_faults_are_found`\n`tests/words.rs::planted` `src/none.rs::a`";
    let expected = ["a.md:2: tests/words.rs::planted", "a.md:2: src/none.rs::a"];
    assert_eq!(missing_tests("a.md", page), expected);
    let page =
        "* no\n## Invariants\n* Held.\n  `a.rs::b`\n* Not held.\n  At all.\n* No test.\n## B\n* no";
    assert_eq!(unheld("a.md", page), ["a.md:5: * Not held."]);

    let page = "# A *b* `c`\n[x](#a-b-c) [x](#a) [x](none.md)\n```\n[x](y)\n```\n[x](https://a.b)";
    let expected = ["README.md:2: #a", "README.md:2: none.md"];
    assert_eq!(dead_links("README.md", page), expected);
}

/// The files that people read, from the project's root.
fn documents() -> BTreeSet<String> {
    let tops = ["ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "README"];
    let mut found: BTreeSet<String> = tops.iter().map(|top| format!("{top}.md")).collect();
    for (folder, extension) in [
        ("certs", "md"),
        ("config", "yaml"),
        ("deploy", "md"),
        ("deploy", "service"),
        ("deploy", "yaml"),
        ("docs", "md"),
        ("tests", "md"),
    ] {
        found.extend(below(folder, extension));
    }
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|it| it == extension)
}

/// The files of a folder and of those in it.
fn below(folder: &str, extension: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(below(&path, extension));
        } else if has_extension(&path, extension) {
            found.insert(path);
        }
    }
    found
}

/// The banned words of a text, with file and line. A phrase may go over a line's end.
fn banned(path: &str, text: &str) -> Vec<String> {
    let mut words: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let parts = line.split(|letter: char| !letter.is_alphanumeric());
        let parts = parts.filter(|part| !part.is_empty());
        words.extend(parts.map(|part| (number + 1, part.to_lowercase())));
    }
    let mut found = Vec::new();
    for (phrase, better) in BANNED {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        let place = |window: &[(usize, String)]| {
            let same = window.iter().map(|(_, word)| word).eq(&phrase);
            window.first().filter(|_| same).map(|(line, _)| *line)
        };
        for line in words.windows(phrase.len()).filter_map(place) {
            let phrase = phrase.join(" ");
            found.push(format!("{path}:{line}: {phrase} (better: {better})"));
        }
    }
    found
}

/// What a source file says to people: its texts and, in the checked rooms, its doc comments. Lines keep
/// their numbers; tests are left out.
fn spoken(path: &str, code: &str) -> String {
    if path.ends_with("tests.rs") {
        return String::new();
    }
    let read = ROOMS.iter().any(|room| path.starts_with(room));
    let (code, _) = code.split_once("#[cfg(test)]").unwrap_or((code, ""));
    let said = code.lines().map(|line| match line.trim_start() {
        comment if comment.starts_with("///") || comment.starts_with("//!") => {
            if read {
                comment
            } else {
                ""
            }
        }
        comment if comment.starts_with("//") => "",
        _ => line.split_once('"').map_or("", |(_, text)| text),
    });
    said.collect::<Vec<_>>().join("\n")
}

/// The doc comments that begin with a question's word.
fn openers(path: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut within = "";
    for (number, line) in code.lines().enumerate() {
        let line = line.trim_start();
        let sign = ["///", "//!"]
            .into_iter()
            .find(|sign| line.starts_with(sign));
        let text = sign.and_then(|sign| line.strip_prefix(sign));
        let text = text.unwrap_or_default().trim_start();
        let first = text.split(|letter: char| !letter.is_alphabetic()).next();
        if sign != Some(within) && OPENERS.contains(&first.unwrap_or_default()) {
            found.push(format!("{path}:{}: {text}", number + 1));
        }
        within = sign.unwrap_or_default();
    }
    found
}

/// The paths below `src` and `tests` that a page names and that do not exist. A path may begin with a room of `src`.
fn missing_files(path: &str, page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, word) in paths(page) {
        let (file, _) = word.split_once("::").unwrap_or((&word, ""));
        if !root().join(file).exists() {
            found.push(format!("{path}:{number}: {file}"));
        }
    }
    found
}

/// The tests, as `file::function`, that a page names and that do not exist.
fn missing_tests(path: &str, page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, word) in paths(page) {
        let Some((file, name)) = word.split_once("::") else {
            continue;
        };
        let code = fs::read_to_string(root().join(file)).unwrap_or_default();
        let is_there = ['(', '<'].map(|after| code.contains(&format!("fn {name}{after}")));
        if is_there == [false, false] {
            found.push(format!("{path}:{number}: {word}"));
        }
    }
    found
}

/// The paths that a page names, with their lines.
fn paths(page: &str) -> Vec<(usize, String)> {
    let separates = |letter: char| !letter.is_ascii_alphanumeric() && !"_-./:".contains(letter);
    let lines = page.lines().enumerate();
    let words = lines.flat_map(|(number, line)| {
        let words = line.split(separates);
        words.map(move |word| (number + 1, word.trim_end_matches(['.', ':'])))
    });
    let full = |word: &str| {
        let (first, rest) = word.split_once('/')?;
        match first {
            "src" | "tests" => Some(word.to_owned()),
            room if rest.contains(".rs") && root().join("src").join(room).is_dir() => {
                Some(format!("src/{word}"))
            }
            _ => None,
        }
    };
    words
        .filter_map(|(number, word)| Some((number, full(word)?)))
        .collect()
}

/// The invariants that name no test and do not say so.
fn unheld(path: &str, page: &str) -> Vec<String> {
    let lines = page.lines().enumerate();
    let section = lines
        .skip_while(|(_, line)| *line != "## Invariants")
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "));
    let mut rules: Vec<(usize, String)> = Vec::new();
    for (number, line) in section {
        match rules.last_mut() {
            _ if line.starts_with("* ") => rules.push((number + 1, line.to_owned())),
            Some((_, rule)) if line.starts_with("  ") => rule.extend(["\n", line]),
            _ => {}
        }
    }
    assert!(!rules.is_empty(), "{path} has no invariants");
    let held = |rule: &str| rule.contains(".rs::") || rule.to_lowercase().contains("no test");
    let unheld = rules.into_iter().filter(|(_, rule)| !held(rule));
    unheld
        .map(|(number, rule)| format!("{path}:{number}: {}", rule.lines().next().unwrap()))
        .collect()
}

/// The links of a page to files or headings that do not exist.
fn dead_links(path: &str, page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in prose(page) {
        for rest in line.split("](").skip(1) {
            let (link, _) = rest.split_once(')').unwrap_or((rest, ""));
            if !link.contains("://") && !leads(path, page, link) {
                found.push(format!("{path}:{number}: {link}"));
            }
        }
    }
    found
}

fn leads(path: &str, page: &str, link: &str) -> bool {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = root().join(path).parent().unwrap().join(file);
    let page = match file {
        "" => page.to_owned(),
        _ if heading.is_empty() => return target.exists(),
        _ => fs::read_to_string(target).unwrap_or_default(),
    };
    heading.is_empty() || headings(&page).contains(heading)
}

/// The anchors of a page's headings, as GitHub makes them.
fn headings(page: &str) -> BTreeSet<String> {
    let titles = prose(page).filter_map(|(_, line)| line.trim_start_matches('#').strip_prefix(' '));
    titles
        .map(|title| {
            let kept = title.chars().filter_map(|letter| match letter {
                ' ' => Some('-'),
                _ if letter.is_alphanumeric() || "-_".contains(letter) => Some(letter),
                _ => None,
            });
            kept.collect::<String>().to_lowercase()
        })
        .collect()
}

/// The lines of a page outside of code blocks, with their numbers.
fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    page.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        (!code && !fence).then_some((number + 1, line))
    })
}
