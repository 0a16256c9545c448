//! Circles of imports. A file is one node, and inside of a folder each of its files and subfolders is one: a subfolder
//! imports what any file below it imports, so that it can be understood and moved as a whole.
//!
//! Paths in macros are imports as well: the text is read, and not only its `use` lines. Tests are left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use super::source::without_comments_and_strings;

/// One node imports others.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// The circles of imports, each as `a -> b -> a`, with the folder in front when they are inside of one.
pub fn circles(files: &[(PathBuf, String)]) -> Vec<String> {
    let imports = imports(files);
    let mut found = circles_of(&imports);
    for (folder, graph) in by_folder(&imports) {
        // A circle of files alone is found above.
        let circles = circles_of(&graph).into_iter();
        let circles = circles.filter(|circle| {
            let mut nodes = circle.split(" -> ");
            nodes.any(|node| Path::new(node).extension().is_none())
        });
        found.extend(circles.map(|circle| format!("{folder}: {circle}")));
    }
    found
}

/// The files that each file imports.
pub fn imports(files: &[(PathBuf, String)]) -> Graph {
    let files: Vec<_> = files.iter().filter(|(path, _)| !is_test(path)).collect();
    let modules: BTreeMap<Vec<String>, String> = files
        .iter()
        .map(|(path, _)| (module(path), shown(path)))
        .collect();
    let of_file = |path: &Path, text: &str| {
        let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
        let code = without_comments_and_strings(text);
        let own = shown(path);
        let named = paths(&code, &module(path));
        let named = named.iter().filter_map(|path| deepest(path, &modules));
        // A `mod.rs` is a contents page: to name it is to name nothing in it.
        named
            .filter(|file| *file != own && !file.ends_with("mod.rs"))
            .collect()
    };
    files
        .iter()
        .map(|(path, text)| (shown(path), of_file(path, text)))
        .collect()
}

fn is_test(path: &Path) -> bool {
    let name = shown(path);
    name.ends_with("tests.rs") || name.ends_with("testing.rs") || name.contains("/tests/")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The path of a file's module, from the root of the crate.
fn module(path: &Path) -> Vec<String> {
    let mut parts: Vec<_> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(
        parts.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        parts.pop();
    }
    parts
}

/// The file of the longest module that a path begins with.
fn deepest(path: &[String], modules: &BTreeMap<Vec<String>, String>) -> Option<String> {
    (1..=path.len())
        .rev()
        .find_map(|length| modules.get(&path[..length]).cloned())
}

/// Every path that begins with `crate`, `super` or `self`, from the root of the crate, with groups in braces resolved.
fn paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            tree(&code[at..], &mut Vec::new(), &mut found);
        }
    }
    found
        .into_iter()
        .map(|path| from_root(&path, module))
        .collect()
}

/// Reads one path, or a tree of them, and gives back what follows it.
fn tree<'c>(code: &'c str, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'c str {
    let depth = path.len();
    let mut rest = code.trim_start();
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            loop {
                group = tree(group, path, found).trim_start();
                match group.strip_prefix(',') {
                    Some(more) => group = more,
                    None => break,
                }
            }
            // What stands before the closing brace: an `as name` at most.
            let end = group.find('}').map_or(group.len(), |end| end + 1);
            rest = &group[end..];
            break;
        }
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        path.push(name.to_owned());
        match after.strip_prefix("::") {
            Some(more) if !name.is_empty() => rest = more.trim_start(),
            _ => {
                found.push(path.clone());
                rest = after;
                break;
            }
        }
    }
    path.truncate(depth);
    // `a as b` is one item of a group.
    match rest.trim_start().strip_prefix("as ") {
        Some(alias) => alias
            .trim_start()
            .trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
        None => rest,
    }
}

fn from_root(path: &[String], module: &[String]) -> Vec<String> {
    let (mut base, mut rest) = (module.to_vec(), path);
    while let Some((first, others)) = rest.split_first() {
        match first.as_str() {
            "crate" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = others;
    }
    base.extend(rest.iter().cloned());
    base
}

/// The imports between the direct children of each folder.
fn by_folder(imports: &Graph) -> BTreeMap<String, Graph> {
    let mut folders: BTreeMap<String, Graph> = BTreeMap::new();
    for (from, to) in imports
        .iter()
        .flat_map(|(from, all)| all.iter().map(move |to| (from, to)))
    {
        let (from, to): (Vec<_>, Vec<_>) = (from.split('/').collect(), to.split('/').collect());
        let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        if let (Some(a), Some(b)) = (from.get(same), to.get(same)) {
            let graph = folders.entry(from[..same].join("/")).or_default();
            graph
                .entry((*a).to_owned())
                .or_default()
                .insert((*b).to_owned());
        }
    }
    folders
}

/// A shortest circle through each node that is in one; circles over the same nodes are one.
fn circles_of(graph: &Graph) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for node in graph.keys() {
        if let Some(circle) = circle_through(node, graph)
            && seen.insert(circle.iter().cloned().collect::<BTreeSet<_>>())
        {
            found.push(format!("{} -> {node}", circle.join(" -> ")));
        }
    }
    found
}

fn circle_through(start: &str, graph: &Graph) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![start.to_owned()]]);
    let mut reached = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way.last().and_then(|last| graph.get(last));
        for next in last.into_iter().flatten() {
            if next == start {
                return Some(way);
            }
            if reached.insert(next.clone()) {
                ways.push_back([way.as_slice(), std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
        .collect();
    circles(&files)
}

#[test]
fn planted_circles_are_found() {
    for (files, expected) in [
        (
            &[
                ("a/x.rs", "use super::y::Y;"),
                ("a/y.rs", "use crate::a::x;"),
            ][..],
            "a/x.rs -> a/y.rs -> a/x.rs",
        ),
        // A path in a macro.
        (
            &[
                ("a/x.rs", "routes!(super::y::document)"),
                ("a/y.rs", "use super::{z::Z, x as other};"),
                ("a/z.rs", ""),
            ],
            "a/x.rs -> a/y.rs -> a/x.rs",
        ),
        // Over three files, through a group in a group.
        (
            &[
                ("a/x.rs", "use crate::{b, a::{y::{Y, self}, other}};"),
                ("a/y.rs", "fn f() { super::z::f() }"),
                ("a/z.rs", "use super::x::{A, B};"),
            ],
            "a/x.rs -> a/y.rs -> a/z.rs -> a/x.rs",
        ),
        // No file imports itself on any way, and the folders do all the same.
        (
            &[
                ("a/p/x.rs", "use crate::a::q::y;"),
                ("a/q/y.rs", ""),
                ("a/q/z.rs", "use crate::a::p::w;"),
                ("a/p/w.rs", ""),
            ],
            "a: p -> q -> p",
        ),
        (
            &[
                ("a/p/x.rs", "use crate::a::y;"),
                ("a/y.rs", "use super::p::w;"),
                ("a/p/w.rs", ""),
            ],
            "a: p -> y.rs -> p",
        ),
    ] {
        let found = planted(files);
        assert_eq!(found, [expected], "{files:?}");
    }
}

#[test]
fn one_way_is_no_circle() {
    for files in [
        &[("a/x.rs", "use super::y::Y;"), ("a/y.rs", "")][..],
        // Comments, strings and tests are no imports.
        &[
            ("a/x.rs", "use super::y::Y;"),
            (
                "a/y.rs",
                "// super::x\nconst X: &str = \"super::x\";\n#[cfg(test)]\nmod tests { use super::super::x; }",
            ),
        ],
        &[
            ("a/x.rs", "use super::y;"),
            ("a/tests.rs", "use super::x;"),
            ("a/y.rs", ""),
        ],
        // A folder, and files beside it above and below.
        &[
            ("a/p/x.rs", "use crate::a::below;"),
            ("a/below.rs", ""),
            ("a/above.rs", "use super::p::x;"),
        ],
    ] {
        assert_eq!(planted(files), [""; 0], "{files:?}");
    }
}
