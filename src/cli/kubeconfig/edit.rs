//! Changes to kubeconfig files, for `config`.
//!
//! Every entry is changed in the file that has it; a new one goes to the first file that exists. What a file holds beyond
//! what is known here stays in it. Paths inside entries stay as written.

use super::{LISTS, files, find, form::normal, home_file, read};
use crate::flags::Globals;
use anyhow::{Context, Result};
use serde_json::{Value, json};
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
        let chosen =
            self.files.iter().position(|file| !file.content["current-context"].as_str().unwrap_or_default().is_empty());
        let place = if name.is_empty() { chosen.unwrap_or(self.default) } else { self.default };
        self.files[place].content["current-context"] = name.into();
        self.files[place].changed = true;
    }

    /// Sets a field beside the lists, or takes it away.
    pub(super) fn set_top(&mut self, field: &str, value: Option<Value>) {
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

    /// The file an entry is in, or would be put into.
    pub(crate) fn file_of(&self, list: &str, name: &str) -> &Path {
        let known = self.files.iter().find(|file| find(&file.content, list, name).is_some());
        known.map_or(self.file(), |file| &file.path)
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

/// A path as it is written into the file of an entry: relative to it when it lies beside or below.
pub(crate) fn relative(path: &Path, file: &Path) -> String {
    let base = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let inside = base.parent().and_then(|base| path.strip_prefix(base).ok());
    inside.unwrap_or(path).to_string_lossy().into_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::{
        super::{form, property},
        *,
    };
    use expect_test::expect;

    pub(crate) fn editor() -> (tempfile::TempDir, Editor) {
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
        property::set(&mut editor, "clusters.a.b.insecure-skip-tls-verify", "true", false).unwrap();
        property::set(&mut editor, "contexts.new.namespace", "n", false).unwrap();
        property::unset(&mut editor, "users.u.token").unwrap();
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
        form::minify(&mut config).unwrap();
        form::redact(&mut config);
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
        .assert_eq(&crate::printers::yaml::to_yaml(&form::normal(&config)));
    }
}
