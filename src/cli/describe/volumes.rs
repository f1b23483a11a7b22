//! Where volumes come from: the sources of pods' volumes and of PersistentVolumes.

use super::{
    fields::{go, go_list, int, list, pairs, quantity, text, truth, words},
    page::{Page, line, put, shortened},
    storage,
};
use mk8s_api::quantity::Quantity;
use serde_json::{Value, json};

/// How one field of a source is shown.
#[derive(Clone, Copy)]
enum Show {
    Text,
    /// `<none>` when it is missing.
    TextOrNone,
    /// `<unset>` when it is missing.
    TextOrUnset,
    Int,
    IntOrNone,
    Bool,
    /// `[a b]`
    Words,
    /// `a, b`
    Commas,
    /// `map[k:v]`
    Map,
    /// A reference to a secret in the same namespace, as Go prints it.
    Local,
    /// A reference to a secret anywhere.
    Secret,
}

use Show::*;

/// A kind of source: its field, what it is, and the fields to show: label and path.
type Source = (&'static str, &'static str, &'static [(&'static str, &'static str, Show)]);

const ISCSI: &str = "ISCSI (an ISCSI Disk resource that is attached to a kubelet's host machine and then exposed to the pod)";
const RBD: &str = "RBD (a Rados Block Device mount on the host that shares a pod's lifetime)";
const GLUSTER: &str = "Glusterfs (a Glusterfs mount on the host that shares a pod's lifetime)";
const CINDER: &str = "Cinder (a Persistent Disk resource in OpenStack)";
const SCALE_IO: &str = "ScaleIO (a persistent volume backed by a block device in ScaleIO)";
const CEPH: &str = "CephFS (a CephFS mount on the host that shares a pod's lifetime)";
const STORAGE_OS: &str = "StorageOS (a StorageOS Persistent Disk resource)";
const AZURE_FILE: &str = "AzureFile (an Azure File Service mount on the host and bind mount to the pod)";
const FLEX: &str = "FlexVolume (a generic volume resource that is provisioned/attached using an exec based plugin)";

/// Sources that pods and PersistentVolumes show alike.
const SHARED: &[Source] = &[
    ("hostPath", "HostPath (bare host directory volume)", &[("Path:", "path", Text), ("HostPathType:", "type", TextOrNone)]),
    (
        "gcePersistentDisk",
        "GCEPersistentDisk (a Persistent Disk resource in Google Compute Engine)",
        &[("PDName:", "pdName", Text), ("FSType:", "fsType", Text), ("Partition:", "partition", Int), ("ReadOnly:", "readOnly", Bool)],
    ),
    (
        "awsElasticBlockStore",
        "AWSElasticBlockStore (a Persistent Disk resource in AWS)",
        &[("VolumeID:", "volumeID", Text), ("FSType:", "fsType", Text), ("Partition:", "partition", Int), ("ReadOnly:", "readOnly", Bool)],
    ),
    (
        "nfs",
        "NFS (an NFS mount that lasts the lifetime of a pod)",
        &[("Server:", "server", Text), ("Path:", "path", Text), ("ReadOnly:", "readOnly", Bool)],
    ),
    (
        "quobyte",
        "Quobyte (a Quobyte mount on the host that shares a pod's lifetime)",
        &[("Registry:", "registry", Text), ("Volume:", "volume", Text), ("ReadOnly:", "readOnly", Bool)],
    ),
    ("portworxVolume", "PortworxVolume (a Portworx Volume resource)", &[("VolumeID:", "volumeID", Text)]),
    (
        "azureDisk",
        "AzureDisk (an Azure Data Disk mount on the host and bind mount to the pod)",
        &[
            ("DiskName:", "diskName", Text),
            ("DiskURI:", "diskURI", Text),
            ("Kind: ", "kind", Text),
            ("FSType:", "fsType", Text),
            ("CachingMode:", "cachingMode", Text),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
    (
        "vsphereVolume",
        "vSphereVolume (a Persistent Disk resource in vSphere)",
        &[("VolumePath:", "volumePath", Text), ("FSType:", "fsType", Text), ("StoragePolicyName:", "storagePolicyName", Text)],
    ),
    (
        "photonPersistentDisk",
        "PhotonPersistentDisk (a Persistent Disk resource in photon platform)",
        &[("PdID:", "pdID", Text), ("FSType:", "fsType", Text)],
    ),
    (
        "fc",
        "FC (a Fibre Channel disk)",
        &[("TargetWWNs:", "targetWWNs", Commas), ("LUN:", "lun", IntOrNone), ("FSType:", "fsType", Text), ("ReadOnly:", "readOnly", Bool)],
    ),
    (
        "flocker",
        "Flocker (a Flocker volume mounted by the Flocker agent)",
        &[("DatasetName:", "datasetName", Text), ("DatasetUUID:", "datasetUUID", Text)],
    ),
];

/// Sources of pods' volumes.
const POD: &[Source] = &[
    (
        "gitRepo",
        "GitRepo (a volume that is pulled from git when the pod is created)",
        &[("Repository:", "repository", Text), ("Revision:", "revision", Text)],
    ),
    ("secret", "Secret (a volume populated by a Secret)", &[("SecretName:", "secretName", Text), ("Optional:", "optional", Bool)]),
    ("configMap", "ConfigMap (a volume populated by a ConfigMap)", &[("Name:", "name", Text), ("Optional:", "optional", Bool)]),
    ("iscsi", ISCSI, &[
        ("TargetPortal:", "targetPortal", Text),
        ("IQN:", "iqn", Text),
        ("Lun:", "lun", Int),
        ("ISCSIInterface", "iscsiInterface", Text),
        ("FSType:", "fsType", Text),
        ("ReadOnly:", "readOnly", Bool),
        ("Portals:", "portals", Words),
        ("DiscoveryCHAPAuth:", "chapAuthDiscovery", Bool),
        ("SessionCHAPAuth:", "chapAuthSession", Bool),
        ("SecretRef:", "secretRef", Local),
        ("InitiatorName:", "initiatorName", TextOrNone),
    ]),
    ("glusterfs", GLUSTER, &[("EndpointsName:", "endpoints", Text), ("Path:", "path", Text), ("ReadOnly:", "readOnly", Bool)]),
    (
        "persistentVolumeClaim",
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        &[("ClaimName:", "claimName", Text), ("ReadOnly:", "readOnly", Bool)],
    ),
    ("rbd", RBD, &[
        ("CephMonitors:", "monitors", Words),
        ("RBDImage:", "image", Text),
        ("FSType:", "fsType", Text),
        ("RBDPool:", "pool", Text),
        ("RadosUser:", "user", Text),
        ("Keyring:", "keyring", Text),
        ("SecretRef:", "secretRef", Local),
        ("ReadOnly:", "readOnly", Bool),
    ]),
    (
        "cinder",
        CINDER,
        &[("VolumeID:", "volumeID", Text), ("FSType:", "fsType", Text), ("ReadOnly:", "readOnly", Bool), ("SecretRef:", "secretRef", Local)],
    ),
    ("scaleIO", SCALE_IO, &[
        ("Gateway:", "gateway", Text),
        ("System:", "system", Text),
        ("Protection Domain:", "protectionDomain", Text),
        ("Storage Pool:", "storagePool", Text),
        ("Storage Mode:", "storageMode", Text),
        ("VolumeName:", "volumeName", Text),
        ("FSType:", "fsType", Text),
        ("ReadOnly:", "readOnly", Bool),
    ]),
    ("cephfs", CEPH, &[
        ("Monitors:", "monitors", Words),
        ("Path:", "path", Text),
        ("User:", "user", Text),
        ("SecretFile:", "secretFile", Text),
        ("SecretRef:", "secretRef", Local),
        ("ReadOnly:", "readOnly", Bool),
    ]),
    ("storageos", STORAGE_OS, STORAGE_OS_FIELDS),
    (
        "azureFile",
        AZURE_FILE,
        &[("SecretName:", "secretName", Text), ("ShareName:", "shareName", Text), ("ReadOnly:", "readOnly", Bool)],
    ),
    ("flexVolume", FLEX, &[
        ("Driver:", "driver", Text),
        ("FSType:", "fsType", Text),
        ("SecretRef:", "secretRef", Local),
        ("ReadOnly:", "readOnly", Bool),
        ("Options:", "options", Map),
    ]),
    (
        "csi",
        "CSI (a Container Storage Interface (CSI) volume source)",
        &[("Driver:", "driver", Text), ("FSType:", "fsType", Text), ("ReadOnly:", "readOnly", Bool)],
    ),
    ("image", "Image (a container image or OCI artifact)", &[("Reference:", "reference", Text), ("PullPolicy:", "pullPolicy", Text)]),
];

const STORAGE_OS_FIELDS: &[(&str, &str, Show)] = &[
    ("VolumeName:", "volumeName", Text),
    ("VolumeNamespace:", "volumeNamespace", Text),
    ("FSType:", "fsType", Text),
    ("ReadOnly:", "readOnly", Bool),
];

/// Sources of PersistentVolumes.
const PERSISTENT: &[Source] = &[
    ("iscsi", ISCSI, &[
        ("TargetPortal:", "targetPortal", Text),
        ("IQN:", "iqn", Text),
        ("Lun:", "lun", Int),
        ("ISCSIInterface", "iscsiInterface", Text),
        ("FSType:", "fsType", Text),
        ("ReadOnly:", "readOnly", Bool),
        ("Portals:", "portals", Words),
        ("DiscoveryCHAPAuth:", "chapAuthDiscovery", Bool),
        ("SessionCHAPAuth:", "chapAuthSession", Bool),
        ("SecretRef:", "secretRef", Secret),
        ("InitiatorName:", "initiatorName", TextOrNone),
    ]),
    ("glusterfs", GLUSTER, &[
        ("EndpointsName:", "endpoints", Text),
        ("EndpointsNamespace:", "endpointsNamespace", TextOrUnset),
        ("Path:", "path", Text),
        ("ReadOnly:", "readOnly", Bool),
    ]),
    ("rbd", RBD, &[
        ("CephMonitors:", "monitors", Words),
        ("RBDImage:", "image", Text),
        ("FSType:", "fsType", Text),
        ("RBDPool:", "pool", Text),
        ("RadosUser:", "user", Text),
        ("Keyring:", "keyring", Text),
        ("SecretRef:", "secretRef", Secret),
        ("ReadOnly:", "readOnly", Bool),
    ]),
    (
        "cinder",
        CINDER,
        &[("VolumeID:", "volumeID", Text), ("FSType:", "fsType", Text), ("ReadOnly:", "readOnly", Bool), ("SecretRef:", "secretRef", Secret)],
    ),
    ("scaleIO", SCALE_IO, &[
        ("Gateway:", "gateway", Text),
        ("System:", "system", Text),
        ("Protection Domain:", "protectionDomain", Text),
        ("Storage Pool:", "storagePool", Text),
        ("Storage Mode:", "storageMode", Text),
        ("VolumeName:", "volumeName", Text),
        ("SecretName:", "secretRef/name", Text),
        ("SecretNamespace:", "secretRef/namespace", Text),
        ("FSType:", "fsType", Text),
        ("ReadOnly:", "readOnly", Bool),
    ]),
    ("local", "LocalVolume (a persistent volume backed by local storage on a node)", &[("Path:", "path", Text)]),
    ("cephfs", CEPH, &[
        ("Monitors:", "monitors", Words),
        ("Path:", "path", Text),
        ("User:", "user", Text),
        ("SecretFile:", "secretFile", Text),
        ("SecretRef:", "secretRef", Secret),
        ("ReadOnly:", "readOnly", Bool),
    ]),
    ("storageos", STORAGE_OS, STORAGE_OS_FIELDS),
    ("azureFile", AZURE_FILE, &[
        ("SecretName:", "secretName", Text),
        ("SecretNamespace:", "secretNamespace", Text),
        ("ShareName:", "shareName", Text),
        ("ReadOnly:", "readOnly", Bool),
    ]),
    ("flexVolume", FLEX, &[
        ("Driver:", "driver", Text),
        ("FSType:", "fsType", Text),
        ("SecretRef:", "secretRef", Secret),
        ("ReadOnly:", "readOnly", Bool),
        ("Options:", "options", Map),
    ]),
    ("csi", "CSI (a Container Storage Interface (CSI) volume source)", &[
        ("Driver:", "driver", Text),
        ("FSType:", "fsType", Text),
        ("VolumeHandle:", "volumeHandle", Text),
        ("ReadOnly:", "readOnly", Bool),
    ]),
];

/// The volumes of a pod or template.
pub(super) fn write(volumes: &Value, space: &str, page: &mut Page) {
    if list(volumes).is_empty() {
        line!(page, 0, "{space}Volumes:\t<none>");
        return;
    }
    line!(page, 0, "{space}Volumes:");
    for volume in list(volumes) {
        let indent = if space.is_empty() { "" } else { " " };
        line!(page, 1, "{indent}{}:", text(&volume["name"]));
        of_pod(volume, page);
    }
}

fn of_pod(volume: &Value, page: &mut Page) {
    if table(volume, &[SHARED, POD], page) {
        return;
    }
    let [empty, projected, ephemeral, downward] =
        ["emptyDir", "projected", "ephemeral", "downwardAPI"].map(|field| volume.get(field).filter(|source| !source.is_null()));
    if let Some(source) = empty {
        empty_dir(source, page);
    } else if let Some(source) = ephemeral {
        line!(page, 2, "Type:\tEphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)");
        if !source["volumeClaimTemplate"].is_null() {
            page.nested(2, |page| storage::claim_lines(&source["volumeClaimTemplate"], None, page));
        }
    } else if let Some(source) = downward {
        line!(page, 2, "Type:\tDownwardAPI (a volume populated by information about the pod)\n    Items:");
        for item in list(&source["items"]) {
            for from in [&item["fieldRef"]["fieldPath"], &item["resourceFieldRef"]["resource"]] {
                if !from.is_null() {
                    line!(page, 3, "{} -> {}", text(from), text(&item["path"]));
                }
            }
        }
    } else if let Some(source) = projected {
        line!(page, 2, "Type:\tProjected (a volume that contains injected data from multiple sources)");
        for part in list(&source["sources"]) {
            projection(part, page);
        }
    } else {
        line!(page, 1, "<unknown>");
    }
}

/// The source of a PersistentVolume.
pub(super) fn of_persistent(spec: &Value, page: &mut Page) {
    if !table(spec, &[SHARED, PERSISTENT], page) {
        line!(page, 1, "<unknown>");
    }
}

/// Writes the source when one of the tables knows it.
fn table(from: &Value, tables: &[&[Source]], page: &mut Page) -> bool {
    let all = tables.iter().flat_map(|table| table.iter());
    let Some((field, what, fields)) = all.into_iter().find(|(field, _, _)| from[*field].is_object()) else { return false };
    let source = &from[*field];
    line!(page, 2, "Type:\t{what}");
    for (label, path, show) in *fields {
        let value = source.pointer(&format!("/{path}")).unwrap_or(&Value::Null);
        line!(page, 2, "{label}\t{}", shown(value, *show));
    }
    if *field == "csi" {
        attributes(&source["volumeAttributes"], page);
    }
    true
}

fn shown(value: &Value, show: Show) -> String {
    let fields = |kind: &str, names: &[(&str, &str)]| match value {
        Value::Null => "nil".to_owned(),
        value => {
            let parts: String = names.iter().map(|(name, field)| format!("{name}:{},", text(&value[*field]))).collect();
            format!("&{kind}{{{parts}}}")
        }
    };
    match show {
        Text => text(value).to_owned(),
        TextOrNone => value.as_str().unwrap_or("<none>").to_owned(),
        TextOrUnset => value.as_str().unwrap_or("<unset>").to_owned(),
        Int => int(value).to_string(),
        IntOrNone => value.as_i64().map_or_else(|| "<none>".to_owned(), |number| number.to_string()),
        Bool => truth(value).to_string(),
        Words => go_list(&words(value)),
        Commas => words(value).join(", "),
        Map => go(if value.is_null() { &NO_OPTIONS } else { value }),
        Local => fields("LocalObjectReference", &[("Name", "name")]),
        Secret => fields("SecretReference", &[("Name", "name"), ("Namespace", "namespace")]),
    }
}

static NO_OPTIONS: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({}));

fn attributes(attributes: &Value, page: &mut Page) {
    put!(page, 2, "VolumeAttributes:\t");
    if pairs(attributes).next().is_none() {
        line!(page, 0, "<none>");
    }
    for (index, (key, value)) in pairs(attributes).enumerate() {
        if index > 0 {
            put!(page, 2, "");
            put!(page, 2, "\t");
        }
        line!(page, 2, "{}", shortened(&format!("{key}={value}"), 140));
    }
}

fn empty_dir(source: &Value, page: &mut Page) {
    let limit = &source["sizeLimit"];
    let limited = Quantity::from_json(limit).is_ok_and(|limit| limit > Quantity::ZERO);
    line!(page, 2, "Type:\tEmptyDir (a temporary directory that shares a pod's lifetime)");
    line!(page, 2, "Medium:\t{}", text(&source["medium"]));
    line!(page, 2, "SizeLimit:\t{}", if limited { quantity(limit) } else { "<unset>".to_owned() });
}

fn projection(part: &Value, page: &mut Page) {
    let (secret, config_map) = (&part["secret"], &part["configMap"]);
    if !secret.is_null() {
        line!(page, 2, "SecretName:\t{}\n    Optional:\t{}", text(&secret["name"]), truth(&secret["optional"]));
    } else if !part["downwardAPI"].is_null() {
        line!(page, 2, "DownwardAPI:\ttrue");
    } else if !config_map.is_null() {
        line!(page, 2, "ConfigMapName:\t{}\n    Optional:\t{}", text(&config_map["name"]), truth(&config_map["optional"]));
    } else if !part["serviceAccountToken"].is_null() {
        line!(page, 2, "TokenExpirationSeconds:\t{}", int(&part["serviceAccountToken"]["expirationSeconds"]));
    }
}
