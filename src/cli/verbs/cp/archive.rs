//! The tar streams that `cp` sends and receives.

use super::paths;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    io::{Read, Write},
    path::Path,
};
use tar::{Archive, Builder, EntryType};

/// Writes `source` under the name `target` to an archive: files, links as they are, and directories that are empty.
pub(super) fn pack(source: &str, target: &str, into: impl Write) -> Result<()> {
    let mut archive = Builder::new(into);
    archive.follow_symlinks(false);
    add(&mut archive, Path::new(source), target)?;
    archive.into_inner()?.flush()?;
    Ok(())
}

fn add(archive: &mut Builder<impl Write>, path: &Path, name: &str) -> Result<()> {
    let cannot = || format!("cannot read {}", path.display());
    if !fs::symlink_metadata(path).with_context(cannot)?.is_dir() {
        return archive.append_path_with_name(path, name).with_context(cannot);
    }
    let mut entries: Vec<_> = fs::read_dir(path).and_then(Iterator::collect).with_context(cannot)?;
    if entries.is_empty() {
        return archive.append_path_with_name(path, name).with_context(cannot);
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let below = entry.file_name().to_string_lossy().into_owned();
        add(archive, &entry.path(), &format!("{name}/{below}"))?;
    }
    Ok(())
}

/// Where the files of an archive go.
pub(super) struct Unpacking<'a> {
    /// With what their names begin, and what is cut off.
    pub(super) prefix: &'a str,
    pub(super) destination: &'a str,
    /// What to say about the first link that is left out.
    pub(super) hint: String,
}

impl Unpacking<'_> {
    /// Reads the archive to its end. The files are new ones: links of the archive are never followed, for none is made.
    pub(super) fn unpack(&self, from: impl Read, warn: &mut dyn FnMut(String)) -> Result<()> {
        let mut archive = Archive::new(from);
        let mut hinted = false;
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let Some(rest) = name.strip_prefix(self.prefix) else { bail!("tar contents corrupted") };
            let target = paths::join(self.destination, rest);
            if !paths::is_within(self.destination, &target) {
                warn(format!("warning: file {target:?} is outside target destination, skipping"));
                continue;
            }
            fs::create_dir_all(paths::parent(&target))?;
            let kind = entry.header().entry_type();
            if kind == EntryType::Directory {
                fs::create_dir_all(&target)?;
                continue;
            }
            if kind == EntryType::Symlink {
                let link =
                    entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned()).unwrap_or_default();
                let hint = if std::mem::replace(&mut hinted, true) { "" } else { self.hint.as_str() };
                warn(format!("warning: skipping symlink: {target:?} -> {link:?}{hint}"));
                continue;
            }
            let mut file = fs::File::create(&target).with_context(|| format!("open {target}"))?;
            std::io::copy(&mut entry, &mut file)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut archive = Archive::new(bytes);
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn trees_go_there_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("sub/empty")).unwrap();
        fs::write(from.join("a.txt"), "alpha").unwrap();
        fs::write(from.join("sub/b.txt"), "beta").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        let mut bytes = Vec::new();
        pack(from.to_str().unwrap(), "there", &mut bytes).unwrap();
        assert_eq!(names(&bytes), ["there/a.txt", "there/link", "there/sub/b.txt", "there/sub/empty"]);

        let to = dir.path().join("to");
        let mut warnings = Vec::new();
        let unpacking = Unpacking { prefix: "there", destination: to.to_str().unwrap(), hint: " (hint)".to_owned() };
        unpacking.unpack(bytes.as_slice(), &mut |warning| warnings.push(warning)).unwrap();
        assert_eq!(fs::read_to_string(to.join("a.txt")).unwrap(), "alpha");
        assert_eq!(fs::read_to_string(to.join("sub/b.txt")).unwrap(), "beta");
        assert!(to.join("sub/empty").is_dir());
        assert_eq!(
            warnings,
            [format!(
                "warning: skipping symlink: {:?} -> \"/etc/passwd\" (hint)",
                to.join("link").display().to_string()
            )]
        );
    }

    #[test]
    fn archives_that_were_tampered_with_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        let made = |name: &str| {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(1);
            header.set_mode(0o644);
            header.set_cksum();
            let mut archive = Builder::new(Vec::new());
            archive.append(&header, b"x".as_slice()).unwrap();
            archive.into_inner().unwrap()
        };
        let unpacking = Unpacking { prefix: "x", destination: to.to_str().unwrap(), hint: String::new() };
        let mut warnings = Vec::new();
        unpacking.unpack(made("x/../../evil").as_slice(), &mut |warning| warnings.push(warning)).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(!dir.path().join("evil").exists());
        let error = unpacking.unpack(made("y").as_slice(), &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "tar contents corrupted");
    }
}
