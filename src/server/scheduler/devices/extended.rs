//! Extended resources that device classes stand behind: where no device plugin has them, a pod that asks for them gets a
//! claim on devices that the scheduler makes.

use super::{Class, Devices, offered::Offered};
use crate::{node_info::NodeInfo, pod_facts::PodFacts, resource::is_extended};
use k8s_openapi::{
    api::{
        core::v1::ContainerExtendedResourceRequest,
        resource::v1::{DeviceClaim, DeviceRequest, ExactDeviceRequest, ResourceClaim, ResourceClaimSpec},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::ResourceExt;
use mk8s_client::pod::{Container, Pod};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Before the name of a class: the extended resource that every class stands behind.
const PREFIX: &str = "deviceclass.resource.kubernetes.io/";
/// On claims that the scheduler makes.
const ANNOTATION: &str = "resource.kubernetes.io/extended-resource-claim";

/// The claim that a pod would get on a node.
pub struct Special {
    /// Not made yet: it has no name, and the pod's uid.
    pub claim: Arc<ResourceClaim>,
    /// Which container gets the devices of which request.
    pub mappings: Vec<ContainerExtendedResourceRequest>,
}

/// Whether the scheduler has made a claim for extended resources.
pub fn is_special(claim: &ResourceClaim) -> bool {
    claim.annotations().get(ANNOTATION).is_some_and(|value| value == "true")
}

/// The uid of the pod that such a claim is for.
pub fn pod_of(claim: &ResourceClaim) -> Option<&str> {
    let owner = || claim.owner_references().iter().find(|owner| owner.controller == Some(true));
    if is_special(claim) { owner().map(|owner| owner.uid.as_str()) } else { None }
}

impl Class {
    /// `None` when a selector fails.
    fn selects(&self, device: &Offered) -> Option<bool> {
        for selector in self.selectors.iter().flatten() {
            if !selector.as_ref().as_ref().ok()?.matches(device.seen()).ok()? {
                return Some(false);
            }
        }
        Some(true)
    }
}

impl Devices {
    /// The class behind an extended resource: the newest of those that say its name, then the first by name.
    pub fn class_behind(&self, resource: &str) -> Option<&Class> {
        if let Some(class) = resource.strip_prefix(PREFIX) {
            return self.class(class);
        }
        let names = self.by_resource.get(resource)?.iter().rev();
        names.filter_map(|name| self.class(name)).max_by_key(|class| class.class.creation_timestamp().map(|at| at.0))
    }

    /// How many devices the class behind a resource has for a node, and how many of them are held; `None` without any.
    pub fn behind(&self, resource: &str, node: &NodeInfo) -> Option<(i64, i64)> {
        let class = self.class_behind(resource)?;
        let slices = [node.name(), ""].into_iter().filter_map(|name| self.by_node.get(name)).flatten();
        let (mut all, mut held) = (0, 0);
        for slice in slices.filter_map(|name| self.slices.get(name)) {
            for device in &slice.devices {
                if slice.place_of(device).reaches(node) && class.selects(device)? {
                    all += 1;
                    held += i64::from(self.held.is_held(&device.id));
                }
            }
        }
        (all > 0).then_some((all, held))
    }

    /// Whether a pod asks for an extended resource that a class stands behind.
    pub fn backs_resources_of(&self, pod: &PodFacts) -> bool {
        let mut wanted = pod.request.exact.scalar.iter().filter(|(_, amount)| **amount != 0);
        wanted.any(|(name, _)| may_be_backed(name) && self.class_behind(name).is_some())
    }

    /// The claim that was made for a pod's extended resources in an earlier attempt.
    pub fn made_for(&self, pod: &PodFacts) -> Option<&Arc<ResourceClaim>> {
        let mut made = self.by_pod.get(&*pod.uid)?.iter().filter_map(|key| self.claims.get(key));
        made.find(|claim| pod_of(claim) == Some(&pod.uid))
    }

    /// The claim that a pod needs on a node, or why the node cannot take it; `None` where device plugins have everything.
    pub fn special_claim(&self, pod: &PodFacts, node: &NodeInfo) -> Result<Option<Special>, String> {
        let mut classes = BTreeMap::new();
        for (name, _) in pod.request.exact.scalar.iter().filter(|(name, amount)| **amount != 0 && may_be_backed(name)) {
            let has = node.facts.allocatable.scalar.get(name).copied();
            match self.class_behind(name).filter(|_| has.unwrap_or(0) == 0) {
                Some(class) => drop(classes.insert(name.as_str(), class.class.name_any())),
                None if has.is_none() => return Err("cannot fit resource".to_owned()),
                None => {}
            }
        }
        if classes.is_empty() {
            return Ok(None);
        }
        let (requests, mappings) = requests(&pod.pod, &classes);
        Ok(Some(Special { claim: Arc::new(claim(pod, requests)), mappings }))
    }
}

fn may_be_backed(resource: &str) -> bool {
    is_extended(resource) || resource.starts_with(PREFIX)
}

fn claim(pod: &PodFacts, requests: Vec<DeviceRequest>) -> ResourceClaim {
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: pod.name().to_owned(),
        uid: pod.uid.to_string(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    ResourceClaim {
        metadata: ObjectMeta {
            namespace: Some(pod.namespace.clone()),
            generate_name: Some(format!("{}-extended-resources-", pod.name())),
            uid: Some(pod.uid.to_string()),
            owner_references: Some(vec![owner]),
            annotations: Some(BTreeMap::from([(ANNOTATION.to_owned(), "true".to_owned())])),
            ..ObjectMeta::default()
        },
        spec: ResourceClaimSpec { devices: Some(DeviceClaim { requests: Some(requests), ..DeviceClaim::default() }) },
        status: None,
    }
}

/// What one container asks for.
struct Asked<'a> {
    container: &'a Container,
    /// Among the init containers and then the others.
    at: usize,
    /// It ends before the next one begins.
    ends: bool,
}

fn containers(pod: &Pod) -> Vec<Asked<'_>> {
    let Some(spec) = pod.spec.as_ref() else { return Vec::new() };
    let init = spec.init_containers.iter().flatten().map(|container| (container, true));
    let all = init.chain(spec.containers.iter().map(|container| (container, false))).enumerate();
    let all = all.map(|(at, (container, first))| {
        let stays = container.restart_policy.as_deref() == Some("Always");
        Asked { container, at, ends: first && !stays }
    });
    all.collect()
}

/// The requests of a pod's special claim, by their names, and who gets what they get. `classes`: the resources that are
/// to be had from devices, with the names of their classes.
fn requests(
    pod: &Pod,
    classes: &BTreeMap<&str, String>,
) -> (Vec<DeviceRequest>, Vec<ContainerExtendedResourceRequest>) {
    let containers = containers(pod);
    let (mut requests, mut mappings) = (Vec::new(), Vec::new());
    for (resource, class) in classes {
        let of = Resource { name: resource, class };
        of.add(&containers, &mut requests, &mut mappings);
    }
    requests.sort_by(|one: &DeviceRequest, other| one.name.cmp(&other.name));
    (requests, mappings)
}

struct Resource<'a> {
    name: &'a str,
    class: &'a str,
}

fn count(request: &DeviceRequest) -> i64 {
    request.exactly.as_ref().and_then(|exactly| exactly.count).unwrap_or(0)
}

impl Resource<'_> {
    /// Containers that stay have devices of their own. One that ends uses those of containers that begin later, and
    /// shares with others that end what it needs beyond them.
    fn add(
        &self,
        containers: &[Asked<'_>],
        requests: &mut Vec<DeviceRequest>,
        mappings: &mut Vec<ContainerExtendedResourceRequest>,
    ) {
        let mut staying: HashMap<usize, DeviceRequest> = HashMap::new();
        for asked in containers.iter().filter(|asked| !asked.ends) {
            if let (Some(request), own) = self.request(asked, &[]) {
                staying.insert(asked.at, request);
                mappings.extend(own);
            }
        }
        let mut largest: Option<DeviceRequest> = None;
        let (mut ending, mut names) = (Vec::new(), Vec::new());
        for asked in containers.iter().filter(|asked| asked.ends) {
            let later: Vec<&DeviceRequest> = (asked.at..containers.len()).filter_map(|at| staying.get(&at)).collect();
            let (request, own) = self.request(asked, &later);
            ending.extend(own);
            let Some(request) = request else { continue };
            names.push(request.name.clone());
            if largest.as_ref().is_none_or(|largest| count(largest) < count(&request)) {
                largest = Some(request);
            }
        }
        if let Some(largest) = &largest {
            for mapping in ending.iter_mut().filter(|mapping| names.contains(&mapping.request_name)) {
                mapping.request_name.clone_from(&largest.name);
            }
        }
        mappings.extend(ending);
        requests.extend(largest);
        requests.extend((0..containers.len()).filter_map(|at| staying.remove(&at)));
    }

    /// What a container needs beyond what it can use of `others`, and whose devices it gets.
    fn request(
        &self,
        asked: &Asked<'_>,
        others: &[&DeviceRequest],
    ) -> (Option<DeviceRequest>, Vec<ContainerExtendedResourceRequest>) {
        let list = asked.container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let Some((list, amount)) = list.and_then(|list| Some((list, list.get(self.name)?))) else {
            return (None, Vec::new());
        };
        let wanted = super::capacity::read(amount).value();
        let mapping = |request: &str| ContainerExtendedResourceRequest {
            container_name: asked.container.name.clone(),
            resource_name: self.name.to_owned(),
            request_name: request.to_owned(),
        };
        let (mut sum, mut mappings) = (0, Vec::new());
        for other in others {
            if sum >= wanted {
                break;
            }
            sum += count(other);
            mappings.push(mapping(&other.name));
        }
        if wanted == 0 || sum >= wanted {
            return (None, mappings);
        }
        let of_container = list.keys().position(|name| name == self.name).unwrap_or(0);
        let name = format!("container-{}-request-{of_container}", asked.at);
        mappings.push(mapping(&name));
        let exactly = ExactDeviceRequest {
            device_class_name: self.class.to_owned(),
            allocation_mode: Some("ExactCount".to_owned()),
            count: Some(wanted - sum),
            ..ExactDeviceRequest::default()
        };
        (Some(DeviceRequest { name, exactly: Some(exactly), first_available: None }), mappings)
    }
}
