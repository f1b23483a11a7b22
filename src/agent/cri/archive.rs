//! Image archives: `docker save` and OCI layouts are read, and an image of one static program is made in memory.
//!
//! What comes out is always content-addressed: blobs, and for each name the descriptor of its manifest.

use crate::CriError;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    io::{Read, Seek, SeekFrom},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A blob, what it is, and what it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
}

/// Where the bytes of a blob are: in hand, or in the archive.
#[derive(Debug, Clone)]
pub enum Source {
    Bytes(Vec<u8>),
    /// Offset and length within the archive's file.
    Archive(u64, u64),
}

#[derive(Debug, Clone)]
pub struct Blob {
    pub descriptor: Descriptor,
    pub source: Source,
    /// Labels by which containerd keeps what this blob refers to.
    pub labels: HashMap<String, String>,
}

/// An image as it can be imported: its blobs, leaves first, and its names.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    pub blobs: Vec<Blob>,
    /// Full names (`docker.io/library/nginx:1`) and what they mean.
    pub names: Vec<(String, Descriptor)>,
}

pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn broken(why: impl Into<String>) -> CriError {
    CriError::Archive { why: why.into() }
}

/// An image that holds one static program and runs it.
pub fn of_program(reference: &str, name: &str, program: &[u8]) -> Result<Contents, CriError> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    let appended = layer.append_data(&mut header, name, program);
    let layer = appended.and_then(|()| layer.into_inner()).map_err(|error| broken(error.to_string()))?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": [format!("/{name}")], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(&layer)]},
        "history": [{"created_by": "mk8s"}],
    });
    let mut contents = Contents::default();
    let layer = contents.add_bytes(LAYER, layer, HashMap::new());
    let config = contents.add_bytes(CONFIG, config.to_string().into_bytes(), HashMap::new());
    let manifest = contents.add_manifest(&config, &[layer]);
    contents.names.push((full_name(reference), manifest));
    Ok(contents)
}

/// The architecture of this build as images name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `nginx` is `docker.io/library/nginx:latest`.
pub fn full_name(reference: &str) -> String {
    let (path, suffix) = match reference.find('@') {
        Some(at) => reference.split_at(at),
        None => match reference.rfind(':').filter(|colon| !reference[*colon..].contains('/')) {
            Some(colon) => reference.split_at(colon),
            None => (reference, ":latest"),
        },
    };
    let (host, rest) = path.split_once('/').unwrap_or(("", path));
    let is_host = host.contains('.') || host.contains(':') || host == "localhost";
    match (is_host, rest.contains('/')) {
        (true, false) if host == "docker.io" => format!("docker.io/library/{rest}{suffix}"),
        (true, _) => format!("{path}{suffix}"),
        (false, _) if host.is_empty() => format!("docker.io/library/{path}{suffix}"),
        (false, _) => format!("docker.io/{path}{suffix}"),
    }
}

impl Contents {
    fn add_bytes(&mut self, media_type: &str, bytes: Vec<u8>, labels: HashMap<String, String>) -> Descriptor {
        let descriptor =
            Descriptor { media_type: media_type.to_owned(), digest: digest_of(&bytes), size: bytes.len() as u64 };
        self.blobs.push(Blob { descriptor: descriptor.clone(), source: Source::Bytes(bytes), labels });
        descriptor
    }

    fn add_manifest(&mut self, config: &Descriptor, layers: &[Descriptor]) -> Descriptor {
        let shown = |d: &Descriptor| json!({"mediaType": d.media_type, "digest": d.digest, "size": d.size});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": shown(config),
            "layers": layers.iter().map(shown).collect::<Vec<_>>(),
        });
        let labels = references(&manifest);
        self.add_bytes(MANIFEST, manifest.to_string().into_bytes(), labels)
    }
}

/// The labels with which containerd's garbage collector follows a manifest or an index.
fn references(document: &Value) -> HashMap<String, String> {
    let digest = |value: &Value| value["digest"].as_str().map(str::to_owned);
    let mut labels = HashMap::new();
    if let Some(config) = digest(&document["config"]) {
        labels.insert("containerd.io/gc.ref.content.config".to_owned(), config);
    }
    for (kind, list) in [("l", &document["layers"]), ("m", &document["manifests"])] {
        for (index, item) in list.as_array().into_iter().flatten().enumerate() {
            labels.extend(digest(item).map(|digest| (format!("containerd.io/gc.ref.content.{kind}.{index}"), digest)));
        }
    }
    labels
}

/// Reads a `docker save` archive or an OCI layout in a tar, optionally gzipped archives excluded.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Contents, CriError> {
    let entries = index(file)?;
    if entries.contains_key("index.json") && entries.contains_key("oci-layout") {
        return read_oci(file, &entries);
    }
    if entries.contains_key("manifest.json") {
        return read_docker(file, &entries);
    }
    Err(broken("it has neither manifest.json (docker save) nor index.json (OCI layout)"))
}

type Entries = HashMap<String, (u64, u64)>;

/// Where each file of the archive is.
fn index(file: &mut (impl Read + Seek)) -> Result<Entries, CriError> {
    let failed = |error: std::io::Error| broken(error.to_string());
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut archive = tar::Archive::new(file);
    let mut entries = Entries::new();
    let mut links = Vec::new();
    for entry in archive.entries_with_seek().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.path().map_err(failed)?.to_string_lossy().trim_start_matches("./").to_owned();
        match entry.header().entry_type() {
            kind if kind.is_file() => drop(entries.insert(name, (entry.raw_file_position(), entry.size()))),
            kind if kind.is_symlink() || kind.is_hard_link() => {
                let target = entry.link_name().map_err(failed)?.unwrap_or_default().to_string_lossy().into_owned();
                links.push((name, target));
            }
            _ => {}
        }
    }
    // `docker save` of old stores a layer once and links to it from other images.
    for (name, target) in links {
        let resolved = target.trim_start_matches("../").to_owned();
        if let Some(place) = entries.get(&target).or_else(|| entries.get(&resolved)).copied() {
            entries.insert(name, place);
        }
    }
    Ok(entries)
}

/// Documents are small; what claims to be larger is not one.
const DOCUMENT_MAX: u64 = 8 << 20;

fn bytes_of(file: &mut (impl Read + Seek), entries: &Entries, name: &str) -> Result<Vec<u8>, CriError> {
    let (offset, length) = *entries.get(name).ok_or_else(|| broken(format!("{name} is missing")))?;
    if length > DOCUMENT_MAX {
        return Err(broken(format!("{name} is too large to be a document")));
    }
    let failed = |error: std::io::Error| broken(format!("{name}: {error}"));
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = vec![0; usize::try_from(length).map_err(|error| broken(error.to_string()))?];
    file.read_exact(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn document(file: &mut (impl Read + Seek), entries: &Entries, name: &str) -> Result<Value, CriError> {
    let bytes = bytes_of(file, entries, name)?;
    serde_json::from_slice(&bytes).map_err(|error| broken(format!("{name}: {error}")))
}

fn read_docker(file: &mut (impl Read + Seek), entries: &Entries) -> Result<Contents, CriError> {
    let list = document(file, entries, "manifest.json")?;
    let mut contents = Contents::default();
    for image in list.as_array().into_iter().flatten() {
        let config_name = image["Config"].as_str().ok_or_else(|| broken("manifest.json names no Config"))?;
        let config = bytes_of(file, entries, config_name)?;
        let mut layers = Vec::new();
        for layer in image["Layers"].as_array().into_iter().flatten() {
            let name = layer.as_str().ok_or_else(|| broken("manifest.json has a layer that is no name"))?;
            layers.push(layer_blob(file, entries, name)?);
        }
        let descriptors: Vec<_> = layers.iter().map(|blob| blob.descriptor.clone()).collect();
        contents.blobs.extend(layers);
        let config = contents.add_bytes(CONFIG, config, HashMap::new());
        let manifest = contents.add_manifest(&config, &descriptors);
        for name in image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            contents.names.push((full_name(name), manifest.clone()));
        }
    }
    if contents.names.is_empty() {
        return Err(broken("no image in it has a name (RepoTags)"));
    }
    Ok(contents)
}

fn layer_blob(file: &mut (impl Read + Seek), entries: &Entries, name: &str) -> Result<Blob, CriError> {
    let (offset, length) = *entries.get(name).ok_or_else(|| broken(format!("layer {name} is missing")))?;
    let failed = |error: std::io::Error| broken(format!("{name}: {error}"));
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut reader = Read::take(&mut *file, length);
    let (mut hash, mut buffer, mut magic) = (Sha256::new(), vec![0; 1 << 16], Vec::new());
    loop {
        let n = reader.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            break;
        }
        if magic.is_empty() {
            magic.extend_from_slice(&buffer[..n.min(4)]);
        }
        hash.update(&buffer[..n]);
    }
    let compression = match magic.as_slice() {
        [0x1f, 0x8b, ..] => "+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
        _ => "",
    };
    let descriptor = Descriptor {
        media_type: format!("{LAYER}{compression}"),
        digest: format!("sha256:{}", hex(&hash.finalize())),
        size: length,
    };
    Ok(Blob { descriptor, source: Source::Archive(offset, length), labels: HashMap::new() })
}

fn read_oci(file: &mut (impl Read + Seek), entries: &Entries) -> Result<Contents, CriError> {
    let top = document(file, entries, "index.json")?;
    let mut contents = Contents::default();
    let mut seen = Vec::new();
    for item in top["manifests"].as_array().into_iter().flatten() {
        let descriptor = descriptor(item)?;
        add_tree(file, entries, &descriptor, &mut contents, &mut seen, 0)?;
        let notes = &item["annotations"];
        let name = notes["io.containerd.image.name"].as_str().or(notes["org.opencontainers.image.ref.name"].as_str());
        // A reference name that is only a tag names nothing that a pod could ask for.
        if let Some(name) = name.filter(|name| name.contains(['/', ':'])) {
            contents.names.push((full_name(name), descriptor));
        }
    }
    if contents.names.is_empty() {
        return Err(broken("no image in it has a name (annotation io.containerd.image.name)"));
    }
    Ok(contents)
}

fn descriptor(value: &Value) -> Result<Descriptor, CriError> {
    let text =
        |key: &str| value[key].as_str().map(str::to_owned).ok_or_else(|| broken(format!("a descriptor lacks {key}")));
    let size = value["size"].as_u64().ok_or_else(|| broken("a descriptor lacks size"))?;
    Ok(Descriptor { media_type: text("mediaType")?, digest: text("digest")?, size })
}

/// A blob and what it refers to, leaves first. Platforms that the archive leaves out are left out here too.
fn add_tree(
    file: &mut (impl Read + Seek),
    entries: &Entries,
    descriptor_: &Descriptor,
    contents: &mut Contents,
    seen: &mut Vec<String>,
    depth: u8,
) -> Result<(), CriError> {
    let name = format!("blobs/{}", descriptor_.digest.replacen(':', "/", 1));
    let Some((offset, length)) = entries.get(&name).copied() else { return Ok(()) };
    if depth > 4 || seen.contains(&descriptor_.digest) {
        return Ok(());
    }
    seen.push(descriptor_.digest.clone());
    let mut labels = HashMap::new();
    if descriptor_.media_type.contains("manifest") || descriptor_.media_type.contains("index") {
        let document = document(file, entries, &name)?;
        let lists = [&document["layers"], &document["manifests"]].into_iter().filter_map(Value::as_array).flatten();
        for child in lists.chain(document.get("config")) {
            add_tree(file, entries, &descriptor(child)?, contents, seen, depth + 1)?;
        }
        labels = references(&document);
    }
    contents.blobs.push(Blob { descriptor: descriptor_.clone(), source: Source::Archive(offset, length), labels });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn names_are_completed() {
        for (short, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.25", "docker.io/library/nginx:1.25"),
            ("mk8s/pause:1", "docker.io/mk8s/pause:1"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("docker.io/mk8s/hello", "docker.io/mk8s/hello:latest"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
            ("a@sha256:12", "docker.io/library/a@sha256:12"),
        ] {
            assert_eq!(full_name(short), full);
        }
    }

    fn tar_of(files: &[(&str, &[u8])]) -> Cursor<Vec<u8>> {
        let mut out = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            out.append_data(&mut header, name, *bytes).expect("memory does not fail");
        }
        Cursor::new(out.into_inner().expect("memory does not fail"))
    }

    #[test]
    fn docker_archives_become_manifests() {
        let manifest = br#"[{"Config":"c.json","RepoTags":["web:1"],"Layers":["a/layer.tar"]}]"#;
        let mut file = tar_of(&[("c.json", b"{}"), ("a/layer.tar", b"layer"), ("manifest.json", manifest)]);
        let contents = read(&mut file).expect("a good archive");
        let types: Vec<_> = contents.blobs.iter().map(|blob| blob.descriptor.media_type.as_str()).collect();
        assert_eq!(types, [LAYER, CONFIG, MANIFEST]);
        assert_eq!(contents.blobs[0].descriptor.digest, digest_of(b"layer"));
        assert_eq!(contents.names[0].0, "docker.io/library/web:1");
        assert_eq!(contents.blobs[2].labels.len(), 2);
    }

    #[test]
    fn bad_archives_are_named() {
        type Files<'f> = &'f [(&'f str, &'f [u8])];
        let cases: [(Files<'_>, &str); 3] = [
            (&[("x", b"")], "neither manifest.json"),
            (&[("manifest.json", b"[{}]")], "names no Config"),
            (&[("manifest.json", b"nonsense")], "manifest.json: expected"),
        ];
        for (files, expected) in cases {
            let error = read(&mut tar_of(files)).expect_err("a bad archive").to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(read(&mut Cursor::new(b"not a tar at all".repeat(100))).is_err());
    }

    #[test]
    fn programs_become_images() {
        let contents = of_program("docker.io/mk8s/pause:1", "pause", b"ELF").expect("memory does not fail");
        assert_eq!(contents.names[0].0, "docker.io/mk8s/pause:1");
        assert_eq!(contents.blobs.len(), 3);
        assert_eq!(contents.names[0].1, contents.blobs[2].descriptor);
    }
}
