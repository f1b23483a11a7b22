//! Where `messages.txt` comes from: the crate `k8s-pb` has the messages and their numbers, our own OpenAPI the names that
//! fields have in JSON.
//!
//! `UPDATE_EXPECT=1 cargo test -p mk8s-api protobuf::generate` writes the table again. The crate is never compiled, its
//! source is read.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{kinds, openapi};
use serde_json::Value;

/// What is said in front of the table.
const HEAD: &str = "\
# Field numbers of Kubernetes' protobuf messages. Made by generate.rs.
#
# @apiVersion kind message          what is in the envelope, and the message it is
# message name:number:type ...      a message's fields by their JSON names
# =message ...                      a message that is written as the list it holds
# |message ...                      a message that is written as that of its fields which is set
#
# Types: s text, b boolean, i integer, d double, y bytes; quantity, time, microtime, duration, intorstring, raw (JSON
# within); or a message. *type: a list. %type: a map from text. ^type: a message whose fields stand in the one around it.
";

/// Kinds beside those of the API's resources.
const MORE: [(&str, &str, &str); 15] = [
    ("apidiscovery.k8s.io/v2", "APIGroupDiscoveryList", "apidiscovery.v2.APIGroupDiscoveryList"),
    ("meta.k8s.io/v1", "PartialObjectMetadata", "meta.PartialObjectMetadata"),
    ("meta.k8s.io/v1", "PartialObjectMetadataList", "meta.PartialObjectMetadataList"),
    ("meta.k8s.io/v1beta1", "PartialObjectMetadata", "meta.PartialObjectMetadata"),
    ("meta.k8s.io/v1beta1", "PartialObjectMetadataList", "meta.v1beta1.PartialObjectMetadataList"),
    ("v1", "APIGroup", "meta.APIGroup"),
    ("v1", "APIGroupList", "meta.APIGroupList"),
    ("v1", "APIResourceList", "meta.APIResourceList"),
    ("v1", "APIVersions", "meta.APIVersions"),
    ("v1", "DeleteOptions", "meta.DeleteOptions"),
    ("v1", "NodeProxyOptions", "core.v1.NodeProxyOptions"),
    ("v1", "PodAttachOptions", "core.v1.PodAttachOptions"),
    ("v1", "PodExecOptions", "core.v1.PodExecOptions"),
    ("v1", "PodPortForwardOptions", "core.v1.PodPortForwardOptions"),
    ("v1", "Status", "meta.Status"),
];

/// Messages that no kind leads to.
const ROOTS: [&str; 1] = ["meta.ListMeta"];

/// What the crate has not: discovery, and what is newer. Lines of the table; a message may be in both.
const ADDITIONS: &str = include_str!("additions.txt");

/// Messages whose JSON is another.
const SPECIAL: [(&str, &str); 9] = [
    ("apiextensions.v1.Json", "raw"),
    ("meta.Duration", "duration"),
    ("meta.FieldsV1", "raw"),
    ("meta.MicroTime", "microtime"),
    ("meta.Time", "time"),
    ("resource.Quantity", "quantity"),
    ("runtime.RawExtension", "raw"),
    ("runtime.Unknown", "raw"),
    ("util.intstr.IntOrString", "intorstring"),
];

/// Messages of which one field is set.
const EITHER: [&str; 3] = [
    "apiextensions.v1.JsonSchemaPropsOrArray",
    "apiextensions.v1.JsonSchemaPropsOrBool",
    "apiextensions.v1.JsonSchemaPropsOrStringArray",
];

struct Field {
    name: String,
    number: u32,
    /// `*`, `%` or nothing.
    shape: &'static str,
    of: String,
}

#[test]
fn the_table_is_made_of_the_crate() {
    let root = source();
    let mut messages = BTreeMap::new();
    read_folder(&root, &root, &mut messages);
    let schemas = Schemas::read();
    expect_test::expect_file!["messages.txt"].assert_eq(&table(&messages, &schemas));
}

#[test]
fn every_field_of_a_schema_has_a_number() {
    let schemas = Schemas::read();
    let mut missing = Vec::new();
    for kind in kinds::builtin() {
        let id = super::TABLE.kind(&kind.api_version(), &kind.kind).expect("every kind has a message");
        schemas.missing(&kind.api_version(), &kind.kind, id, &mut missing);
    }
    missing.sort();
    missing.dedup();
    expect_test::expect![[r#""#]].assert_eq(&missing.join("\n"));
}

/// The source of the crate, wherever cargo keeps it.
fn source() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--all-features"])
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "k8s-pb").expect("the crate is in Cargo.lock");
    let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a folder").join("src")
}

fn read_folder(root: &Path, folder: &Path, messages: &mut BTreeMap<String, Vec<Field>>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_folder(root, &path, messages);
            continue;
        }
        let module: Vec<&str> = folder
            .strip_prefix(root)
            .expect("within the source")
            .components()
            .filter_map(|part| part.as_os_str().to_str())
            .collect();
        read_file(&fs::read_to_string(&path).expect("a file"), &module, messages);
    }
}

fn read_file(text: &str, module: &[&str], messages: &mut BTreeMap<String, Vec<Field>>) {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line.trim(), " "]).collect();
    for part in code.split("pub struct ").skip(1) {
        let Some((name, rest)) = part.split_once(" {") else { continue };
        let body = rest.split_once(" } ").map_or(rest, |(body, _)| body);
        let fields = body.split("#[prost(").skip(1).filter_map(|field| read_field(field, module)).collect();
        messages.insert(short(&[module, &[name]].concat()), fields);
    }
}

/// `string, optional, tag = "1")] pub name: Option<String>,`
fn read_field(text: &str, module: &[&str]) -> Option<Field> {
    let (attribute, declared) = text.split_once(")]")?;
    let tag = attribute.split_once("tag = \"")?.1.split('"').next()?;
    let (name, of) = declared.trim().strip_prefix("pub ")?.split_once(':')?;
    let (scalar, shape) = match attribute.split_once("_map = \"string, ") {
        Some((_, rest)) => (rest.split('"').next()?, "%"),
        None => (attribute.split([',', ' ', '=']).next()?, if attribute.contains("repeated") { "*" } else { "" }),
    };
    let of = match scalar {
        "string" => "s".to_string(),
        "bool" => "b".to_string(),
        "int32" | "int64" => "i".to_string(),
        "double" => "d".to_string(),
        "bytes" => "y".to_string(),
        "message" => message_of(of, module),
        other => panic!("{other} is a type that the table has not yet"),
    };
    let name = name.trim().trim_start_matches("r#").trim_end_matches('_').to_string();
    Some(Field { name, number: tag.parse().ok()?, shape, of })
}

/// The message that a Rust type wraps.
fn message_of(of: &str, module: &[&str]) -> String {
    let path = of.rsplit('<').next().unwrap_or_default();
    let path = path.rsplit(", ").find(|part| part.chars().any(char::is_alphanumeric)).unwrap_or(path);
    let path: Vec<&str> =
        path.split("::").map(|part| part.trim_matches(|c: char| !c.is_alphanumeric() && c != '_')).collect();
    let up = path.iter().take_while(|part| **part == "super").count();
    short(&[&module[..module.len() - up], &path[up..]].concat())
}

/// A message's name in the table.
fn short(path: &[&str]) -> String {
    let name = path.join(".");
    for (long, short) in [
        ("apimachinery.pkg.apis.meta.v1.", "meta."),
        ("apimachinery.pkg.apis.", ""),
        ("apimachinery.pkg.api.", ""),
        ("apimachinery.pkg.", ""),
        ("apiextensions_apiserver.pkg.apis.", ""),
        ("kube_aggregator.pkg.apis.", ""),
        ("api.", ""),
    ] {
        if let Some(rest) = name.strip_prefix(long) {
            return format!("{short}{rest}");
        }
    }
    name
}

/// The names of properties, by those of definitions; both without what spells them differently.
struct Schemas(HashMap<String, HashMap<String, String>>, HashMap<(String, String), String>);

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').map(|c| c.to_ascii_lowercase()).collect()
}

impl Schemas {
    fn read() -> Schemas {
        let mut bytes = Vec::new();
        openapi::write_v2(&mut bytes, kinds::builtin(), &openapi::Custom::default()).expect("memory takes every write");
        let document: Value = serde_json::from_slice(&bytes).expect("JSON");
        let mut schemas = Schemas(HashMap::new(), HashMap::new());
        for (name, schema) in document["definitions"].as_object().expect("definitions") {
            let path = name.replace('-', "_");
            let short = plain(&short(&path.split('.').skip(2).collect::<Vec<_>>()));
            for gvk in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
                let text = |key: &str| gvk[key].as_str().unwrap_or_default();
                let api_version = kinds::api_version(text("group"), text("version"));
                schemas.1.insert((api_version, text("kind").to_string()), short.clone());
            }
            let properties = schema["properties"].as_object().into_iter().flatten();
            let properties = properties.map(|(name, _)| (plain(name), name.clone()));
            schemas.0.insert(short, properties.collect());
        }
        schemas
    }

    /// Names the properties that a kind's messages have no field for.
    fn missing(&self, api_version: &str, kind: &str, id: usize, missing: &mut Vec<String>) {
        let Some(name) = self.1.get(&(api_version.to_string(), kind.to_string())) else { return };
        for property in self.0[name].values().filter(|name| !matches!(&***name, "kind" | "apiVersion")) {
            if super::TABLE.message(id).by_name(property).is_none() {
                missing.push(format!("{api_version} {kind} {property}"));
            }
        }
    }
}

fn table(messages: &BTreeMap<String, Vec<Field>>, schemas: &Schemas) -> String {
    let new = ADDITIONS.lines().filter_map(|line| line.strip_prefix('@')).filter_map(|line| {
        let mut words = line.split(' ').map(str::to_string);
        Some((words.next()?, words.next()?, words.next()?))
    });
    let mut kinds: Vec<(String, String, String)> =
        MORE.map(|(a, b, c)| (a.to_string(), b.to_string(), c.to_string())).into();
    kinds.extend(new);
    let spelled: HashMap<String, &String> = messages.keys().map(|name| (plain(name), name)).collect();
    let mut add = |api_version: String, kind: &str| {
        let Some(name) = schemas.1.get(&(api_version.clone(), kind.to_string())) else { return };
        let Some(message) = spelled.get(name) else { return };
        kinds.push((api_version, kind.to_string(), message.to_string()));
    };
    for kind in kinds::builtin() {
        add(kind.api_version(), &kind.kind);
        for sub in &kind.subresources {
            add(kinds::api_version(&sub.group, &sub.version), &sub.kind);
        }
    }
    kinds.sort();
    kinds.dedup_by(|a, b| (&a.0, &a.1) == (&b.0, &b.1));

    let mut text = format!("{HEAD}\n");
    for (api_version, kind, message) in &kinds {
        writeln!(text, "@{api_version} {kind} {message}").expect("a text");
    }
    let mut wanted: Vec<&str> = ROOTS.to_vec();
    wanted.extend(kinds.iter().map(|(_, _, message)| message.as_str()));
    let added: HashMap<&str, &str> = ADDITIONS
        .lines()
        .filter(|line| !line.starts_with(['#', '@']))
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .collect();
    // Messages that have no schema because they are always inlined have their names from the one around them.
    let mut around: HashMap<&str, &HashMap<String, String>> = HashMap::new();
    wanted.reverse();
    let mut seen: HashSet<&str> = wanted.iter().copied().collect();
    let mut written = HashSet::new();
    while let Some(name) = wanted.pop() {
        if !written.insert(name) {
            continue;
        }
        let marked = format!("={name}");
        let more = added.get(name).or_else(|| added.get(&*marked)).copied();
        let fields = messages.get(name).map_or(&[][..], Vec::as_slice);
        assert!(messages.contains_key(name) || more.is_some(), "{name} is no message");
        let is_list = matches!(fields, [Field { name, shape: "*", of, .. }] if name == "items" && of == "s")
            || added.contains_key(&*marked);
        text.push_str(if is_list {
            "="
        } else if EITHER.contains(&name) {
            "|"
        } else {
            ""
        });
        text.push_str(name);
        let known = schemas.0.get(&plain(name)).filter(|known| !known.is_empty()).or_else(|| around.get(name).copied());
        for field in fields {
            let special = SPECIAL.iter().find(|(message, _)| *message == field.of).map(|(_, word)| *word);
            let is_message = field.of.contains('.') && special.is_none();
            let property = known.and_then(|known| known.get(&plain(&field.name)));
            let (json, shape) = match (known, property) {
                (_, Some(property)) => (property.clone(), field.shape),
                (Some(_), None) if is_message && field.shape.is_empty() => (camel(&field.name), "^"),
                (Some(_), None) if !name.starts_with("meta.") => continue,
                _ => (camel(&field.name), field.shape),
            };
            let of = special.unwrap_or(&field.of);
            write!(text, " {json}:{}:{shape}{of}", field.number).expect("a text");
            if let ("^", Some(known)) = (shape, known) {
                around.insert(&field.of, known);
            }
            if is_message && seen.insert(&field.of) {
                wanted.insert(0, &field.of);
            }
        }
        for word in more.into_iter().flat_map(|words| words.split(' ')) {
            write!(text, " {word}").expect("a text");
            let of = word.rsplit(':').next().unwrap_or_default().trim_start_matches(['*', '%', '^']);
            if of.contains('.') && seen.insert(of) {
                wanted.insert(0, of);
            }
        }
        text.push('\n');
    }
    text
}

/// `host_ip` as `hostIP` is for the schemas to tell; this is the rule.
fn camel(name: &str) -> String {
    let mut out = String::new();
    for (at, word) in name.split('_').enumerate() {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if at > 0 => out.extend(first.to_uppercase().chain(letters)),
            first => out.extend(first.into_iter().chain(letters)),
        }
    }
    out
}
