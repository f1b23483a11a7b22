//! Which images nobody needs when the disk fills up, and their removal.

use mk8s_cri::{Containerd, Runtime, v1};
use std::{collections::HashSet, path::Path};

/// Collection begins above and ends below these shares of the disk, in percent, as Kubernetes' defaults are.
const HIGH: u64 = 85;
const LOW: u64 = 80;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: String,
    pub size: u64,
}

/// Images to remove so that `to_free` bytes become free, the largest first.
pub fn garbage(
    images: &[v1::Image],
    in_use: &HashSet<String>,
    pinned: &HashSet<String>,
    to_free: u64,
) -> Vec<Candidate> {
    let used = |image: &v1::Image| {
        let names = image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]);
        image.pinned || names.into_iter().any(|name| in_use.contains(name) || pinned.contains(name))
    };
    let mut free: Vec<Candidate> = images
        .iter()
        .filter(|image| !used(image))
        .map(|image| Candidate { id: image.id.clone(), size: image.size })
        .collect();
    free.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    let mut sum = 0;
    let enough = |candidate: &Candidate| {
        let take = sum < to_free;
        sum += candidate.size;
        take
    };
    free.into_iter().take_while(enough).collect()
}

/// Removes unused images when the disk below `root` is too full, but none of those in `keep` and none that was pinned.
pub async fn collect(runtime: &Runtime, containerd: Option<&Containerd>, root: &Path, keep: &HashSet<String>) {
    let Ok(disk) = nix::sys::statvfs::statvfs(root) else { return };
    #[allow(clippy::unnecessary_cast)] // the fields' width depends on the platform
    let (total, free) = (
        disk.blocks() as u64 * disk.fragment_size() as u64,
        disk.blocks_available() as u64 * disk.fragment_size() as u64,
    );
    let used = total.saturating_sub(free);
    if total == 0 || used * 100 / total < HIGH {
        return;
    }
    let (Ok(images), Ok(containers)) = (runtime.images().await, runtime.containers(&[]).await) else { return };
    let in_use = containers
        .into_iter()
        .flat_map(|c| [c.image_ref, c.image.map(|image| image.image).unwrap_or_default()])
        .collect();
    let mut pinned = keep.clone();
    if let Some(containerd) = containerd {
        match containerd.pinned().await {
            Ok(names) => pinned.extend(names),
            // What must stay is not known, so nothing goes.
            Err(error) => {
                tracing::warn!(%error, "images are not collected: it is not known which are pinned");
                return;
            }
        }
    }
    for candidate in garbage(&images, &in_use, &pinned, used.saturating_sub(total / 100 * LOW)) {
        match runtime.remove_image(&candidate.id).await {
            Ok(()) => tracing::info!(image = candidate.id, bytes = candidate.size, "unused image removed"),
            Err(error) => tracing::warn!(image = candidate.id, %error, "an unused image cannot be removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_and_pinned_images_stay() {
        let image = |id: &str, size| v1::Image {
            id: id.into(),
            repo_tags: vec![format!("{id}:1")],
            size,
            ..Default::default()
        };
        let images = [image("a", 10), image("b", 30), image("c", 20), image("d", 40)];
        let (in_use, pinned) = (HashSet::from(["d".to_owned()]), HashSet::from(["a:1".to_owned()]));
        let ids = |to_free| garbage(&images, &in_use, &pinned, to_free).into_iter().map(|c| c.id).collect::<Vec<_>>();
        assert_eq!(ids(0), Vec::<String>::new());
        assert_eq!(ids(25), ["b"]);
        assert_eq!(ids(1000), ["b", "c"]);
    }
}
