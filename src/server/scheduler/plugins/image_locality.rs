//! Nodes that have a pod's images already are better, the more so the larger the images are; an image that only few
//! nodes have counts less, so that not every pod of it crowds there.

use crate::{framework::*, node_info::NodeInfo};

pub struct ImageLocality;

const MIB: i64 = 1024 * 1024;
/// Below this much nothing is gained, above that much per container nothing more is.
const LEAST: i64 = 23 * MIB;
const MOST_PER_CONTAINER: i64 = 1000 * MIB;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }
    fn score<'a>(&'a self, cycle: Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let nodes = cycle.snapshot.node_count().max(1) as f64;
        let share = |image: &'a String| (image, cycle.snapshot.nodes_with_image(image) as f64 / nodes);
        let images: Vec<(&String, f64)> =
            cycle.pod.images.iter().map(share).filter(|(_, share)| *share > 0.0).collect();
        if images.is_empty() {
            return None;
        }
        Some(Box::new(Present { images, most: MOST_PER_CONTAINER.saturating_mul(cycle.pod.container_count.max(1)) }))
    }
}

struct Present<'a> {
    /// With the share of the nodes that have it.
    images: Vec<(&'a String, f64)>,
    most: i64,
}

impl Score for Present<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        let scaled = |(image, share): &(&String, f64)| Some((*node.facts.images.get(*image)? as f64 * share) as i64);
        let present = self.images.iter().filter_map(scaled).fold(0, i64::saturating_add);
        MAX_SCORE * (present.clamp(LEAST, self.most) - LEAST) / (self.most - LEAST)
    }
}
