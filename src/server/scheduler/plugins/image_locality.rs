//! Nodes that have a pod's images already are better, the more so the larger the images are; an image that only few
//! nodes have counts less, so that not every pod of it crowds there.

use crate::{framework::*, node_info::NodeInfo, pod_facts::PodFacts, snapshot::Snapshot};

pub(super) struct ImageLocality;

const MIB: i64 = 1024 * 1024;
/// Below this much nothing is gained, above that much per container nothing more is.
const LEAST: i64 = 23 * MIB;
const MOST_PER_CONTAINER: i64 = 1000 * MIB;

impl Score for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }
    fn weight(&self) -> i64 {
        1
    }
    fn score(&self, pod: &PodFacts, node: &NodeInfo, snapshot: &Snapshot) -> i64 {
        let all = i64::try_from(snapshot.node_count().max(1)).unwrap_or(i64::MAX);
        let present: i64 = pod
            .images
            .iter()
            .filter_map(|image| {
                let size = node.images.get(image)?;
                let holders = i64::try_from(snapshot.nodes_with_image(image)).unwrap_or(all);
                Some(size.saturating_mul(holders) / all)
            })
            .fold(0, i64::saturating_add);
        let most = MOST_PER_CONTAINER.saturating_mul(i64::try_from(pod.images.len().max(1)).unwrap_or(1));
        let within = present.clamp(LEAST, most);
        MAX_SCORE * (within - LEAST) / (most - LEAST)
    }
}
