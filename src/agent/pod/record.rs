//! The node's own record of its pods: what it goes by when it starts and no server answers.
//!
//! ```text
//! informer ─▶ changes ─▶ <root>/record/<uid>.json
//! start ─▶ no answer for a while ─▶ read the record ─▶ pods, until the servers answer: what they do not know is gone then
//! ```
//!
//! A pod's status is not kept: what runs is seen in the runtime.

use super::facts;
use k8s_openapi::api::core::v1::Pod;
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

/// Where changes are noted. Cheap to clone; noting never waits.
#[derive(Clone)]
pub(super) struct Record(mpsc::Sender<Note>);

enum Note {
    Put(Arc<Pod>),
    Gone(String),
}

impl Record {
    /// A record in a folder, which a thread of its own writes.
    ///
    /// # Errors
    /// That of the thread's start.
    pub(super) fn begin(folder: PathBuf) -> io::Result<Record> {
        let (sender, notes) = mpsc::channel();
        std::thread::Builder::new().name("pod-record".into()).spawn(move || write_all(&folder, &notes))?;
        Ok(Record(sender))
    }

    pub(super) fn put(&self, pod: &Arc<Pod>) {
        // The writer ends last.
        let _ = self.0.send(Note::Put(pod.clone()));
    }

    pub(super) fn gone(&self, uid: &str) {
        let _ = self.0.send(Note::Gone(uid.to_owned()));
    }
}

fn write_all(folder: &Path, notes: &mpsc::Receiver<Note>) {
    // What was written, so that a pod whose status alone changed is not written again.
    let mut written: HashMap<String, Vec<u8>> = HashMap::new();
    for note in notes {
        let outcome = match note {
            Note::Put(pod) => {
                let (uid, text) = (facts::uid(&pod).to_owned(), text_of(&pod));
                if !is_name(&uid) || written.get(&uid) == Some(&text) {
                    continue;
                }
                let outcome = write(folder, &uid, &text);
                if outcome.is_ok() {
                    written.insert(uid, text);
                }
                outcome
            }
            Note::Gone(uid) if is_name(&uid) => {
                written.remove(&uid);
                match fs::remove_file(file(folder, &uid)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            }
            Note::Gone(_) => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::warn!(folder = %folder.display(), %error, "the node's record of its pods cannot be kept");
        }
    }
}

/// A file's name and nothing else.
fn is_name(uid: &str) -> bool {
    !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn file(folder: &Path, uid: &str) -> PathBuf {
    folder.join(format!("{uid}.json"))
}

fn text_of(pod: &Pod) -> Vec<u8> {
    let mut kept = pod.clone();
    kept.metadata.managed_fields = None;
    kept.metadata.resource_version = None;
    // That it began, and when, is part of what a pod is.
    if let Some(status) = kept.status.take() {
        kept.status = Some(k8s_openapi::api::core::v1::PodStatus {
            start_time: status.start_time,
            phase: status.phase.filter(|phase| phase == "Succeeded" || phase == "Failed"),
            ..Default::default()
        });
    }
    serde_json::to_vec(&kept).expect("a pod becomes JSON")
}

/// The file is there whole or not at all, and for root's eyes only.
fn write(folder: &Path, uid: &str, text: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let fresh = folder.join(format!("{uid}.new"));
    let mut open = fs::OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    io::Write::write_all(&mut open.open(&fresh)?, text)?;
    fs::rename(&fresh, file(folder, uid))
}

/// The pods of the record. What cannot be read is left out.
pub(super) fn read(folder: &Path) -> Vec<Arc<Pod>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match fs::read(&path).map_err(|error| error.to_string()).and_then(|text| parse(&text)) {
            Ok(pod) => found.push(Arc::new(pod)),
            Err(error) => tracing::warn!(path = %path.display(), error, "a pod of the node's record cannot be read"),
        }
    }
    found.sort_by(|a, b| facts::uid(a).cmp(facts::uid(b)));
    found
}

fn parse(text: &[u8]) -> Result<Pod, String> {
    let pod: Pod = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match pod.spec.is_some() && is_name(facts::uid(&pod)) {
        true => Ok(pod),
        false => Err("it is no pod".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, image: &str, phase: &str) -> Arc<Pod> {
        let object = json!({
            "metadata": {"name": uid, "namespace": "d", "uid": uid, "resourceVersion": "7"},
            "spec": {"containers": [{"name": "c", "image": image}]},
            "status": {"phase": phase, "startTime": "2026-01-01T00:00:00Z", "podIP": "10.42.0.1"},
        });
        Arc::new(serde_json::from_value(object).expect("a pod"))
    }

    #[test]
    fn pods_are_kept_until_they_are_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("record");
        let (sender, notes) = mpsc::channel();
        let record = Record(sender);
        record.put(&pod("a", "one", "Running"));
        record.put(&pod("a", "two", "Running"));
        record.put(&pod("b", "one", "Succeeded"));
        record.put(&pod("c", "one", "Running"));
        record.gone("c");
        record.gone("../c");
        drop(record);
        write_all(&folder, &notes);
        fs::write(folder.join("d.json"), "{").expect("written");
        fs::write(folder.join("e.json"), "{}").expect("written");
        let shown: Vec<String> = read(&folder)
            .iter()
            .map(|pod| {
                let status = pod.status.clone().unwrap_or_default();
                let image = facts::spec(pod).containers[0].image.clone().unwrap_or_default();
                format!("{} {image} {:?} {:?}", facts::uid(pod), status.phase, status.pod_ip)
            })
            .collect();
        assert_eq!(shown, ["a two None None", "b one Some(\"Succeeded\") None"]);
        assert!(read(&dir.path().join("nothing")).is_empty());
    }
}
