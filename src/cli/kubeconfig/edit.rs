//! Changes to kubeconfig files, for `config`.
//!
//! Every entry is changed in the file that has it; a new one goes to the first file that exists. What a file holds beyond
//! what is known here stays in it. Paths inside entries stay as written.

use super::{LISTS, files, find, home_file, read};
use crate::flags::Globals;
use anyhow::{Context, Result, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// One file of the chain.
struct File {
    path: PathBuf,
    content: Value,
    changed: bool,
}

/// The files as they are, and what is to be changed in them.
pub(crate) struct Editor {
    files: Vec<File>,
    /// Where new entries go.
    default: usize,
}

impl Editor {
    pub(crate) fn open(globals: &Globals) -> Result<Editor> {
        let mut paths = files(globals);
        if paths.is_empty() {
            paths.push(home_file());
        }
        let mut opened = Vec::new();
        for path in paths {
            let content = if path.exists() { read(&path)? } else { super::empty() };
            opened.push(File { path, content, changed: false });
        }
        let default = opened.iter().position(|file| file.path.exists()).unwrap_or(opened.len() - 1);
        Ok(Editor { files: opened, default })
    }

    /// The file that messages name.
    pub(crate) fn file(&self) -> &Path {
        &self.files[self.default].path
    }

    /// What an entry holds; the first file to name it counts.
    pub(crate) fn get(&self, list: &str, name: &str) -> Option<&Value> {
        let inner = inner_name(list);
        self.files.iter().find_map(|file| find(&file.content, list, name)).map(|entry| &entry[inner])
    }

    /// The names in a list, sorted.
    pub(crate) fn names(&self, list: &str) -> BTreeSet<String> {
        let entries = self.files.iter().filter_map(|file| file.content[list].as_array()).flatten();
        entries.map(|entry| entry["name"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Makes or replaces an entry.
    pub(crate) fn put(&mut self, list: &str, name: &str, content: Value) {
        let place = self.files.iter().position(|file| find(&file.content, list, name).is_some());
        let file = &mut self.files[place.unwrap_or(self.default)];
        file.changed = true;
        let inner = inner_name(list);
        if !file.content[list].is_array() {
            file.content[list] = json!([]);
        }
        let Some(entries) = file.content[list].as_array_mut() else { return };
        match entries.iter_mut().find(|entry| entry["name"] == name) {
            Some(entry) => entry[inner] = content,
            None => entries.push(json!({"name": name, inner: content})),
        }
    }

    /// Removes an entry from the first file that has it.
    pub(crate) fn remove(&mut self, list: &str, name: &str) -> Option<Value> {
        let file = self.files.iter_mut().find(|file| find(&file.content, list, name).is_some())?;
        file.changed = true;
        let entries = file.content[list].as_array_mut()?;
        let index = entries.iter().position(|entry| entry["name"] == name)?;
        Some(entries.remove(index)[inner_name(list)].take())
    }

    pub(crate) fn current(&self) -> &str {
        let all = self.files.iter().filter_map(|file| file.content["current-context"].as_str());
        all.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
    }

    /// Chooses a context; none clears the choice where it was made.
    pub(crate) fn set_current(&mut self, name: &str) {
        if self.current() == name {
            return;
        }
        let chosen = self.files.iter().position(|file| !file.content["current-context"].as_str().unwrap_or_default().is_empty());
        let place = if name.is_empty() { chosen.unwrap_or(self.default) } else { self.default };
        self.files[place].content["current-context"] = name.into();
        self.files[place].changed = true;
    }

    /// Sets a field beside the lists, or takes it away.
    fn set_top(&mut self, field: &str, value: Option<Value>) {
        let file = &mut self.files[self.default];
        file.changed = true;
        match (value, file.content.as_object_mut()) {
            (Some(value), Some(content)) => drop(content.insert(field.to_owned(), value)),
            (None, Some(content)) => drop(content.remove(field)),
            (_, None) => {}
        }
    }

    /// Everything merged, paths as they are.
    pub(crate) fn merged(&self) -> Value {
        let mut merged = super::empty();
        for file in &self.files {
            super::merge(&mut merged, &file.content);
        }
        merged
    }

    /// Everything merged, paths made absolute.
    pub(crate) fn flattened(&self) -> Result<Value> {
        let mut merged = super::empty();
        for file in &self.files {
            let mut content = file.content.clone();
            let path = std::path::absolute(&file.path)?;
            super::absolute_paths(&mut content, path.parent().unwrap_or(Path::new("/")));
            super::merge(&mut merged, &content);
        }
        Ok(merged)
    }

    /// Writes the files that were changed.
    pub(crate) fn save(self) -> Result<()> {
        for file in self.files.into_iter().filter(|file| file.changed) {
            let text = crate::printers::yaml::to_yaml(&normal(&file.content));
            write(&file.path, text.as_bytes()).with_context(|| format!("cannot write {}", file.path.display()))?;
        }
        Ok(())
    }
}

/// Replaces a file at once; a new one is for its owner only.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(directory) = target.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory)?;
    }
    let mode = fs::metadata(&target).map_or(0o600, |known| known.permissions().mode() & 0o777);
    let mut name = target.clone().into_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = PathBuf::from(name);
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
    file.write_all(bytes).and_then(|()| fs::rename(&fresh, &target)).inspect_err(|_| drop(fs::remove_file(&fresh)))
}

fn inner_name(list: &str) -> &'static str {
    LISTS.iter().find(|(name, _)| *name == list).map_or("", |(_, inner)| inner)
}

/// Fields that are written even when they are empty.
fn is_kept(inner: &str, field: &str) -> bool {
    matches!((inner, field), ("cluster", "server") | ("context", "cluster" | "user"))
}

/// A kubeconfig as kubectl writes it: lists sorted, empty fields left out, empty lists null.
pub(crate) fn normal(config: &Value) -> Value {
    let mut normal = config.clone();
    for (list, inner) in LISTS {
        let mut entries = normal[list].as_array().cloned().unwrap_or_default();
        entries.sort_by_key(|entry| entry["name"].as_str().unwrap_or_default().to_owned());
        for entry in &mut entries {
            normalize(&mut entry[inner], inner);
        }
        normal[list] = if entries.is_empty() { Value::Null } else { entries.into() };
    }
    if let Some(map) = normal.as_object_mut() {
        map.retain(|field, value| match field.as_str() {
            "preferences" | "extensions" => !is_empty(value),
            _ => true,
        });
        map.entry("apiVersion").or_insert_with(|| "v1".into());
        map.entry("kind").or_insert_with(|| "Config".into());
        map.entry("current-context").or_insert_with(|| "".into());
    }
    normal
}

fn normalize(content: &mut Value, inner: &str) {
    if !content.is_object() {
        *content = json!({});
    }
    if let Some(map) = content.as_object_mut() {
        map.retain(|field, value| is_kept(inner, field) || !is_empty(value));
    }
    match inner {
        "cluster" => default_text(content, "server"),
        "context" => ["cluster", "user"].into_iter().for_each(|field| default_text(content, field)),
        _ => {
            if let Some(exec) = content.get_mut("exec").and_then(Value::as_object_mut) {
                for field in ["args", "env"] {
                    exec.entry(field).or_insert(Value::Null);
                }
                exec.entry("provideClusterInfo").or_insert(false.into());
            }
        }
    }
}

fn default_text(content: &mut Value, field: &str) {
    if content[field].is_null() {
        content[field] = "".into();
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}

/// Keeps what the current context uses.
pub(crate) fn minify(config: &mut Value) -> Result<()> {
    let current = config["current-context"].as_str().unwrap_or_default().to_owned();
    if current.is_empty() {
        bail!("current-context must exist in order to minify");
    }
    let Some(entry) = find(config, "contexts", &current).cloned() else { bail!("cannot locate context {current}") };
    for (list, field) in [("clusters", "cluster"), ("users", "user")] {
        let name = entry["context"][field].as_str().unwrap_or_default();
        let kept = match find(config, list, name) {
            _ if name.is_empty() => json!([]),
            Some(entry) => json!([entry]),
            None => bail!("cannot locate {field} {name}"),
        };
        config[list] = kept;
    }
    config["contexts"] = json!([entry]);
    Ok(())
}

/// Replaces what nobody should see over a shoulder.
pub(crate) fn redact(config: &mut Value) {
    let hidden = [
        ("clusters", "cluster", "certificate-authority-data", "DATA+OMITTED"),
        ("users", "user", "client-certificate-data", "DATA+OMITTED"),
        ("users", "user", "client-key-data", "DATA+OMITTED"),
        ("users", "user", "token", "REDACTED"),
        ("users", "user", "password", "REDACTED"),
    ];
    for (list, inner, field, shown) in hidden {
        for entry in config[list].as_array_mut().into_iter().flatten() {
            if let Some(value) = entry[inner].get_mut(field).filter(|value| !is_empty(value)) {
                *value = shown.into();
            }
        }
    }
}

/// Replaces the paths of certificates and keys by what is in the files.
pub(crate) fn embed(config: &mut Value) -> Result<()> {
    let paths = [
        ("clusters", "cluster", "certificate-authority"),
        ("users", "user", "client-certificate"),
        ("users", "user", "client-key"),
    ];
    for (list, inner, field) in paths {
        for entry in config[list].as_array_mut().into_iter().flatten() {
            let Some(content) = entry[inner].as_object_mut() else { continue };
            let data = format!("{field}-data");
            let Some(path) = content.remove(field).and_then(|path| path.as_str().map(str::to_owned)) else { continue };
            if path.is_empty() {
                continue;
            }
            if content.get(&data).is_some_and(|data| !is_empty(data)) {
                bail!("cannot have values for both path and contents");
            }
            let bytes = fs::read(&path).map_err(|error| anyhow!("open {path}: {}", io_text(&error)))?;
            content.insert(data, BASE64_STANDARD.encode(bytes).into());
        }
    }
    Ok(())
}

/// Go's words for the errors of files that users meet.
pub(crate) fn io_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Sets a field of an entry, or takes it away when there is nothing to set.
pub(crate) fn set_field(content: &mut Value, field: &str, value: impl Into<Value>) {
    let value = value.into();
    if !content.is_object() {
        *content = Value::Object(Map::new());
    }
    if let Some(map) = content.as_object_mut() {
        if is_empty(&value) {
            map.remove(field);
        } else {
            map.insert(field.to_owned(), value);
        }
    }
}

/// The known fields of entries, by what they hold.
const FIELDS: [(&str, &[&str]); 3] = [
    ("clusters", &[
        "server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority", "certificate-authority-data",
        "proxy-url", "disable-compression", "extensions",
    ]),
    ("users", &[
        "client-certificate", "client-certificate-data", "client-key", "client-key-data", "token", "tokenFile", "as",
        "as-uid", "as-groups", "as-user-extra", "username", "password", "auth-provider", "exec", "extensions",
    ]),
    ("contexts", &["cluster", "user", "namespace", "extensions"]),
];

/// A property such as `clusters.10.0.0.1.server`.
#[derive(Debug, PartialEq, Eq)]
enum Property {
    Current,
    Top(String),
    List(&'static str),
    Entry(&'static str, String, Vec<String>),
}

fn property(path: &str) -> Result<Property> {
    let parts: Vec<&str> = path.split('.').collect();
    let unparsable = || anyhow!("unable to parse {path}");
    match parts.as_slice() {
        ["current-context"] => return Ok(Property::Current),
        ["kind" | "apiVersion" | "preferences" | "extensions"] => return Ok(Property::Top(path.to_owned())),
        ["preferences", ..] => return Ok(Property::Top("preferences".to_owned())),
        _ => {}
    }
    let Some((list, fields)) = FIELDS.iter().find(|(list, _)| *list == parts[0]) else {
        bail!("unable to parse {path} after [] at api.Config");
    };
    let rest = &parts[1..];
    if rest.is_empty() {
        return Ok(Property::List(list));
    }
    // Names may have dots; they end where a known field begins.
    let end = rest.iter().skip(1).position(|part| fields.contains(part)).map_or(rest.len(), |index| index + 1);
    let (name, steps) = (rest[..end].join("."), &rest[end..]);
    let deep = steps.len() > 1 && !matches!(steps[0], "exec" | "auth-provider");
    if deep || steps.len() > 3 {
        return Err(unparsable());
    }
    Ok(Property::Entry(list, name, steps.iter().map(|step| (*step).to_owned()).collect()))
}

/// `config set`: gives a property a value, converted to what it holds.
pub(crate) fn set(editor: &mut Editor, path: &str, text: &str, raw_bytes: bool) -> Result<()> {
    match property(path)? {
        Property::Current => editor.set_current(text),
        Property::Top(field) if matches!(field.as_str(), "kind" | "apiVersion") => editor.set_top(&field, Some(text.into())),
        Property::Top(field) => bail!("can't set a map to a value: {field}"),
        Property::List(list) => bail!("can't set a map to a value: {list}"),
        Property::Entry(_, name, steps) if steps.is_empty() => bail!("can't set a map to a value: {name}"),
        Property::Entry(list, name, steps) => {
            let mut content = editor.get(list, &name).cloned().unwrap_or_else(|| json!({}));
            let value = converted(&steps[0], text, raw_bytes)?;
            match steps.as_slice() {
                [field] if matches!(field.as_str(), "exec" | "auth-provider" | "extensions" | "as-user-extra") => {
                    bail!("can't set a map to a value: {field}")
                }
                [field] => set_field(&mut content, field, value),
                [field, inner @ ..] => {
                    let mut nested = &mut content[field.as_str()];
                    for step in &inner[..inner.len() - 1] {
                        nested = &mut nested[step.as_str()];
                    }
                    set_field(nested, &inner[inner.len() - 1], text);
                }
                [] => {}
            }
            editor.put(list, &name, content);
        }
    }
    Ok(())
}

fn converted(field: &str, text: &str, raw_bytes: bool) -> Result<Value> {
    if matches!(field, "insecure-skip-tls-verify" | "disable-compression") {
        return match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true.into()),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false.into()),
            _ => Err(anyhow!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
        };
    }
    if matches!(field, "as-groups") {
        bail!("unrecognized slice type. string");
    }
    if !field.ends_with("-data") {
        return Ok(text.into());
    }
    if raw_bytes {
        return Ok(BASE64_STANDARD.encode(text).into());
    }
    match BASE64_STANDARD.decode(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(anyhow!("error decoding input value: illegal base64 data at input byte {}", offset(&error))),
    }
}

fn offset(error: &base64::DecodeError) -> usize {
    match error {
        base64::DecodeError::InvalidByte(offset, _) | base64::DecodeError::InvalidLastSymbol(offset, _) => *offset,
        base64::DecodeError::InvalidLength(length) => *length,
        base64::DecodeError::InvalidPadding => 0,
    }
}

/// `config unset`: takes a property away.
pub(crate) fn unset(editor: &mut Editor, path: &str) -> Result<()> {
    match property(path)? {
        Property::Current => editor.set_current(""),
        Property::Top(field) => editor.set_top(&field, None),
        Property::List(list) => {
            for name in editor.names(list) {
                editor.remove(list, &name);
            }
        }
        Property::Entry(list, name, steps) if steps.is_empty() => drop(editor.remove(list, &name)),
        Property::Entry(list, name, steps) => {
            let Some(mut content) = editor.get(list, &name).cloned() else {
                bail!("current map key `{name}` is invalid");
            };
            let mut place = &mut content;
            for step in &steps[..steps.len() - 1] {
                place = &mut place[step.as_str()];
            }
            if let Some(map) = place.as_object_mut() {
                map.remove(&steps[steps.len() - 1]);
            }
            editor.put(list, &name, content);
        }
    }
    Ok(())
}

/// A path as it is written into the file of an entry: relative to it when it lies beside or below.
pub(crate) fn relative(path: &Path, file: &Path) -> String {
    let base = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let inside = base.parent().and_then(|base| path.strip_prefix(base).ok());
    inside.unwrap_or(path).to_string_lossy().into_owned()
}

impl Editor {
    /// The file an entry is in, or would be put into.
    pub(crate) fn file_of(&self, list: &str, name: &str) -> &Path {
        let known = self.files.iter().find(|file| find(&file.content, list, name).is_some());
        known.map_or(self.file(), |file| &file.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn editor() -> (tempfile::TempDir, Editor) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        fs::write(
            &path,
            "clusters:\n- name: z\n  cluster: {server: 'https://z', odd: kept}\n- name: a.b\n  cluster: {server: 'https://a'}\n\
             users:\n- name: u\n  user: {token: secret, exec: {command: x}}\ncontexts:\n- name: c\n  context: {cluster: z, user: u}\n\
             current-context: c\npreferences: {}\n",
        )
        .unwrap();
        let globals = Globals { kubeconfig: Some(path), ..Globals::default() };
        let editor = Editor::open(&globals).unwrap();
        (directory, editor)
    }

    #[test]
    fn files_are_written_in_kubectls_form() {
        let (directory, mut editor) = editor();
        set(&mut editor, "clusters.a.b.insecure-skip-tls-verify", "true", false).unwrap();
        set(&mut editor, "contexts.new.namespace", "n", false).unwrap();
        unset(&mut editor, "users.u.token").unwrap();
        editor.save().unwrap();
        expect![[r#"
            apiVersion: v1
            clusters:
            - cluster:
                insecure-skip-tls-verify: true
                server: https://a
              name: a.b
            - cluster:
                odd: kept
                server: https://z
              name: z
            contexts:
            - context:
                cluster: z
                user: u
              name: c
            - context:
                cluster: ""
                namespace: "n"
                user: ""
              name: new
            current-context: c
            kind: Config
            users:
            - name: u
              user:
                exec:
                  args: null
                  command: x
                  env: null
                  provideClusterInfo: false
        "#]]
        .assert_eq(&fs::read_to_string(directory.path().join("config")).unwrap());
    }

    #[test]
    fn views_hide_and_minify() {
        let (_directory, editor) = editor();
        let mut config = editor.merged();
        minify(&mut config).unwrap();
        redact(&mut config);
        expect![[r#"
            apiVersion: v1
            clusters:
            - cluster:
                odd: kept
                server: https://z
              name: z
            contexts:
            - context:
                cluster: z
                user: u
              name: c
            current-context: c
            kind: Config
            users:
            - name: u
              user:
                exec:
                  args: null
                  command: x
                  env: null
                  provideClusterInfo: false
                token: REDACTED
        "#]]
        .assert_eq(&crate::printers::yaml::to_yaml(&normal(&config)));
    }

    #[test]
    fn properties_may_have_dots_in_names() {
        let entry = |list, name: &str, steps: &[&str]| {
            Property::Entry(list, name.to_owned(), steps.iter().map(|step| (*step).to_owned()).collect())
        };
        let cases = [
            ("current-context", Property::Current),
            ("clusters.10.1.2.3.server", entry("clusters", "10.1.2.3", &["server"])),
            ("contexts.a", entry("contexts", "a", &[])),
            ("users.a.exec.command", entry("users", "a", &["exec", "command"])),
            ("users", Property::List("users")),
        ];
        for (path, expected) in cases {
            assert_eq!(property(path).unwrap(), expected, "{path}");
        }
        for path in ["nope", "clusters.a.server.x", ""] {
            assert!(property(path).is_err(), "{path}");
        }
    }

    #[test]
    fn bad_values_are_refused() {
        let (_directory, mut editor) = editor();
        let cases = [
            ("clusters.z.insecure-skip-tls-verify", "maybe", "strconv.ParseBool: parsing \"maybe\": invalid syntax"),
            ("users.u.client-key-data", "!", "error decoding input value: illegal base64 data at input byte 0"),
            ("users", "x", "can't set a map to a value: users"),
        ];
        for (path, text, message) in cases {
            assert_eq!(set(&mut editor, path, text, false).unwrap_err().to_string(), message, "{path}");
        }
    }
}
