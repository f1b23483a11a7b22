//! The tree keeps its own rules: the arrows between rooms, a purpose on every module, words that do not belong.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Which rooms each room may depend on. What is not here is absent on purpose.
const ARROWS: &[(&str, &[&str])] = &[
    ("mk8s-api", &[]),
    ("mk8s-store", &[]),
    ("mk8s-client", &["mk8s-api"]),
    ("mk8s-controllers", &["mk8s-client", "mk8s-api"]),
    ("mk8s-scheduler", &["mk8s-client", "mk8s-api"]),
    ("mk8s-server", &["mk8s-store", "mk8s-controllers", "mk8s-scheduler", "mk8s-client", "mk8s-api"]),
    ("mk8s-cri", &[]),
    ("mk8s-agent", &["mk8s-cri", "mk8s-client", "mk8s-api"]),
    ("mk8s-net", &["mk8s-client", "mk8s-api"]),
    ("mk8s-cli", &["mk8s-client", "mk8s-api"]),
    ("mk8s-fuzz", &["mk8s-server", "mk8s-store", "mk8s-net", "mk8s-client", "mk8s-api"]),
    ("mk8s", &["mk8s-server", "mk8s-agent", "mk8s-net", "mk8s-cli", "mk8s-client", "mk8s-api"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below the rooms with one of the endings, sorted.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    fn walk(directory: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("the tree can be read") {
            let path = entry.expect("the tree can be read").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".git" | "node_modules") {
                    walk(&path, endings, found);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), endings, &mut found);
    found.sort();
    found
}

#[test]
fn arrows_between_rooms_are_those_of_the_architecture() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut rooms = 0;
    for manifest in files(&["Cargo.toml"]) {
        let text = fs::read_to_string(&manifest).expect("a manifest can be read");
        let mut section = "";
        let mut name = "";
        for line in text.lines() {
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']');
            } else if section == "package" && line.starts_with("name = ") {
                name = line.trim_start_matches("name = ").trim_matches('"');
                rooms += 1;
            } else if section == "dependencies" && line.starts_with("mk8s-") {
                let target = line.split(['.', ' ', '=']).next().unwrap_or_default();
                if !allowed.get(name).is_some_and(|to| to.contains(&target)) {
                    wrong.push(format!("{name} -> {target}"));
                }
            }
        }
    }
    assert_eq!(rooms, ARROWS.len(), "every room has its line in ARROWS");
    assert!(wrong.is_empty(), "arrows that the architecture does not have: {wrong:?}");
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<_> = files(&[".rs"])
        .into_iter()
        // A file of tests says what it is for with their names.
        .filter(|path| !path.ends_with("tests.rs"))
        .filter(|path| !fs::read_to_string(path).expect("a source file can be read").starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "files that do not open with a `//!` line: {silent:#?}");
}

#[test]
fn unsafe_code_stands_only_at_the_kernel_doors() {
    const DOORS: &[&str] = &["src/net/netlink/", "src/agent/", "src/server/witness/memory.rs", "images/"];
    let strangers: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|path| {
            let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
            let text = fs::read_to_string(path).expect("a source file can be read");
            shown != "tests/tidy.rs"
                && !DOORS.iter().any(|door| shown.starts_with(door))
                && text.lines().any(|line| line.contains("unsafe {") || line.contains("unsafe fn"))
        })
        .collect();
    assert!(strangers.is_empty(), "unsafe code outside the kernel doors: {strangers:#?}");
}

#[test]
fn nothing_is_left_for_later_in_silence() {
    let marks = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[ig", "nore]")];
    let marked: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(path).expect("a source file can be read");
            marks.iter().any(|mark| text.contains(mark))
        })
        .collect();
    assert!(marked.is_empty(), "stubs or ignored tests: {marked:#?}");
}
