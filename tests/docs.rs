//! The documents say what the executable does: its flags, its metrics, its tables, and links that lead somewhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The keys that server and agent share.
const NODE_FLAGS: &str = "src/server/options/node.rs";

/// The files in which metrics are written out, below the root.
const METRICS: [&str; 11] = [
    "src/server/http/metrics.rs",
    "src/server/admission/webhook/metrics.rs",
    "src/server/audit/mod.rs",
    "src/server/auth/chain.rs",
    "src/server/auth/oidc/metrics.rs",
    "src/server/auth/webhook/metrics.rs",
    "src/server/flow/metrics.rs",
    "src/server/registry/custom/convert/metrics.rs",
    "src/server/scheduler/metrics.rs",
    "src/store/metrics.rs",
    "src/agent/http/stats.rs",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `mk8s ARGUMENTS --help` prints, without the values of this process' environment.
fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_mk8s"))
        .args(arguments)
        .arg("--help")
        .env_clear()
        .output()
        .expect("mk8s can be started");
    assert!(output.status.success(), "mk8s {arguments:?} --help: {output:?}");
    String::from_utf8(output.stdout).expect("help is text")
}

/// `--data-dir` and its like in a help text. Flags stand at the beginning of their lines, after their short forms.
fn flags(help: &str) -> BTreeSet<String> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let long = lines.filter_map(|line| line.split([' ', ',', '=', '[']).find(|word| word.starts_with("--")));
    long.filter(|flag| *flag != "--help").map(str::to_owned).collect()
}

/// The variables that a help text names: `[env: MK8S_TOKEN]`, `[env: MK8S_TOKEN=]`, also across two lines.
fn variables(help: &str) -> BTreeSet<String> {
    let words = help.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
    words.filter(|word| word.starts_with("MK8S_")).map(str::to_owned).collect()
}

/// The rows of a document's tables: their cells, without the mark-up of code.
fn rows(document: &str) -> Vec<Vec<String>> {
    let lines = document.lines().filter(|line| line.starts_with("| ")).map(|line| line.replace("\\|", "/"));
    lines.map(|line| line.split('|').skip(1).map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

/// Text in quotes that can only be the name of a metric.
fn metric_names(source: &str) -> BTreeSet<String> {
    const FAMILIES: [&str; 10] = [
        "apiserver_",
        "authentication_",
        "etcd_",
        "mk8s_",
        "kubelet_",
        "container_",
        "pod_",
        "node_",
        "resource_scrape_",
        "scheduler_",
    ];
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let quoted = code.split('"').skip(1).step_by(2);
    let name = |text: &&str| {
        FAMILIES.iter().any(|family| text.starts_with(family))
            // The words of outcomes, which are labels' values.
            && !text.ends_with("_error")
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    quoted.filter(name).map(str::to_owned).collect()
}

#[test]
fn every_flag_of_the_server_is_described_with_its_variable_and_key() {
    let (help, options) = (help(&["server"]), read("src/server/options/config.rs") + &read(NODE_FLAGS));
    let described = rows(&read("docs/server.md"));
    let of = |flag: &str| described.iter().find(|row| row[0].split([' ', ',', '[']).any(|word| word == flag));
    for flag in flags(&help) {
        let row = of(&flag).unwrap_or_else(|| panic!("docs/server.md has no row for {flag}"));
        let key = flag.trim_start_matches("--");
        // The file cannot name itself.
        let key = if options.contains(&format!("(\"{key}\"")) { key } else { "" };
        assert_eq!(row[2], key, "the key of {flag} in docs/server.md");
    }
    let shown: BTreeSet<String> =
        described.iter().filter_map(|row| row.get(1).cloned()).filter(|cell| cell.starts_with("MK8S_")).collect();
    assert_eq!(shown, variables(&help), "the variables in docs/server.md are those of `mk8s server --help`");
    let known = flags(&help);
    for row in described.iter().filter(|row| row[0].starts_with("--")) {
        let flag = row[0].split([' ', ',', '[']).next().unwrap_or_default();
        assert!(known.contains(flag), "docs/server.md describes {flag}, which mk8s server does not have");
    }
}

#[test]
fn every_flag_of_the_agent_is_described_with_its_variable_and_key() {
    let (help, options) = (help(&["agent"]), read("src/server/options/agent.rs") + &read(NODE_FLAGS));
    let described = rows(&read("docs/agent.md"));
    let known = flags(&help);
    for flag in &known {
        let row = described.iter().find(|row| row[0].split([' ', ',']).next() == Some(flag.as_str()));
        let row = row.unwrap_or_else(|| panic!("docs/agent.md has no row for {flag}"));
        let key = flag.trim_start_matches("--");
        let key = if options.contains(&format!("(\"{key}\"")) { key } else { "" };
        assert_eq!(row[2], key, "the key of {flag} in docs/agent.md");
    }
    let shown: BTreeSet<String> =
        described.iter().filter_map(|row| row.get(1).cloned()).filter(|cell| cell.starts_with("MK8S_")).collect();
    assert_eq!(shown, variables(&help), "the variables in docs/agent.md are those of `mk8s agent --help`");
}

#[test]
fn every_verb_and_flag_of_token_is_described() {
    let document = read("docs/agent.md");
    for verb in ["create", "list", "delete", "rotate"] {
        assert!(document.contains(&format!("`mk8s token {verb}")), "docs/agent.md does not describe token {verb}");
        for flag in flags(&help(&["token", verb])) {
            assert!(document.contains(&format!("| `{flag}")), "docs/agent.md has no row for {flag} of token {verb}");
        }
    }
}

#[test]
fn every_flag_of_image_is_described() {
    let described = rows(&read("docs/images.md"));
    for flag in flags(&help(&["image"])) {
        assert!(
            described.iter().any(|row| row[0].split(' ').next() == Some(flag.as_str())),
            "docs/images.md has no row for {flag}"
        );
    }
}

#[test]
fn every_metric_is_described_and_every_described_one_is_there() {
    let served: BTreeSet<String> = METRICS.iter().flat_map(|file| metric_names(&read(file))).collect();
    assert!(served.len() > 15, "metrics are found: {served:?}");
    let document = read("docs/metrics.md");
    let cells = rows(&document).into_iter().flatten();
    let described: BTreeSet<String> = cells.filter(|cell| metric_names(&format!("\"{cell}\"")).len() == 1).collect();
    assert_eq!(described, served, "left: docs/metrics.md, right: {METRICS:?}");
}

#[test]
fn every_variable_of_the_installer_is_described() {
    let (script, document) = (read("install.sh"), read("docs/install.md"));
    let used = script
        .split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_')
        .filter(|word| word.starts_with("INSTALL_MK8S_"));
    for variable in used.chain(["MK8S_BINARY", "MK8S_URL"]).collect::<BTreeSet<_>>() {
        assert!(document.contains(&format!("`{variable}`")), "docs/install.md does not describe {variable}");
    }
}

/// A message of a shell script as a document shows it: `...` for each value.
fn without_values(message: &str) -> String {
    let mut parts = message.split('$');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = match part.chars().next() {
            Some('{') => part.split_once('}').map_or("", |(_, rest)| rest),
            Some('(') => part.split_once(')').map_or("", |(_, rest)| rest),
            _ => part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'),
        };
        shown.push_str("...");
        shown.push_str(rest);
    }
    shown
}

#[test]
fn every_end_of_the_installer_is_described() {
    let (script, document) = (read("install.sh"), read("docs/errors.md"));
    for message in script.split("die \"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let shown = without_values(message);
        let words: Vec<&str> = shown.split_whitespace().skip_while(|word| *word == "...").take(3).collect();
        assert!(document.contains(&words.join(" ")), "docs/errors.md does not describe the installer's {message:?}");
    }
}

#[test]
fn the_verbs_of_the_command_line_are_those_described() {
    let document = read("docs/kubectl.md");
    let help = help(&["kubectl"]);
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // A line that goes on is indented more.
    let begins = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let verbs = listed.filter(begins).filter_map(|line| line.split_whitespace().next());
    let verbs: BTreeSet<String> = verbs.filter(|verb| *verb != "help").map(str::to_owned).collect();
    let table = rows(&document).into_iter().skip(1).filter_map(|row| row.first().cloned());
    let described: BTreeSet<String> =
        table.flat_map(|cell| cell.split(", ").map(str::to_owned).collect::<Vec<_>>()).collect();
    assert_eq!(described, verbs, "left: the table of docs/kubectl.md, right: `mk8s kubectl --help`");
    let absent =
        document.split("**Absent verbs:**").nth(1).and_then(|rest| rest.split(". ").next()).unwrap_or_default();
    let absent: BTreeSet<&str> = absent.split('`').skip(1).step_by(2).collect();
    let found: Vec<_> = absent.iter().filter(|verb| verbs.contains(**verb)).collect();
    assert!(absent.len() > 3 && found.is_empty(), "absent after docs/kubectl.md, and there: {found:?}");
}

#[test]
fn links_lead_to_files() {
    let mut pages = vec![root().join("README.md"), root().join("ARCHITECTURE.md"), root().join("CHANGELOG.md")];
    for folder in ["docs", "docs/adr"] {
        let entries = fs::read_dir(root().join(folder)).expect("the documents can be listed");
        pages.extend(
            entries
                .map(|entry| entry.expect("the documents can be listed").path())
                .filter(|path| path.extension().is_some_and(|end| end == "md")),
        );
    }
    let mut dead = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("a document can be read");
        for target in
            text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|target| !target.contains("://"))
        {
            let file = target.split('#').next().unwrap_or_default();
            let folder = page.parent().unwrap_or(Path::new("."));
            if !file.is_empty() && !folder.join(file).exists() {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "links to nothing: {dead:#?}");
}

#[test]
fn every_decision_is_listed() {
    let list = read("docs/adr/README.md");
    for entry in fs::read_dir(root().join("docs/adr")).expect("the decisions can be listed") {
        let name = entry.expect("the decisions can be listed").file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || list.contains(&format!("({name})")), "docs/adr/README.md does not list {name}");
    }
}
