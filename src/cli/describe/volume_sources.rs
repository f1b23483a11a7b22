//! The kinds of volume sources: what each is called, and which of its fields are shown.

/// How one field of a source is shown.
#[derive(Clone, Copy)]
pub(super) enum Show {
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
pub(super) type Source = (&'static str, &'static str, &'static [(&'static str, &'static str, Show)]);

const ISCSI: &str =
    "ISCSI (an ISCSI Disk resource that is attached to a kubelet's host machine and then exposed to the pod)";
const RBD: &str = "RBD (a Rados Block Device mount on the host that shares a pod's lifetime)";
const GLUSTER: &str = "Glusterfs (a Glusterfs mount on the host that shares a pod's lifetime)";
const CINDER: &str = "Cinder (a Persistent Disk resource in OpenStack)";
const SCALE_IO: &str = "ScaleIO (a persistent volume backed by a block device in ScaleIO)";
const CEPH: &str = "CephFS (a CephFS mount on the host that shares a pod's lifetime)";
const STORAGE_OS: &str = "StorageOS (a StorageOS Persistent Disk resource)";
const AZURE_FILE: &str = "AzureFile (an Azure File Service mount on the host and bind mount to the pod)";
const FLEX: &str = "FlexVolume (a generic volume resource that is provisioned/attached using an exec based plugin)";

/// Sources that pods and PersistentVolumes show alike.
pub(super) const SHARED: &[Source] = &[
    (
        "hostPath",
        "HostPath (bare host directory volume)",
        &[("Path:", "path", Text), ("HostPathType:", "type", TextOrNone)],
    ),
    (
        "gcePersistentDisk",
        "GCEPersistentDisk (a Persistent Disk resource in Google Compute Engine)",
        &[
            ("PDName:", "pdName", Text),
            ("FSType:", "fsType", Text),
            ("Partition:", "partition", Int),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
    (
        "awsElasticBlockStore",
        "AWSElasticBlockStore (a Persistent Disk resource in AWS)",
        &[
            ("VolumeID:", "volumeID", Text),
            ("FSType:", "fsType", Text),
            ("Partition:", "partition", Int),
            ("ReadOnly:", "readOnly", Bool),
        ],
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
        &[
            ("VolumePath:", "volumePath", Text),
            ("FSType:", "fsType", Text),
            ("StoragePolicyName:", "storagePolicyName", Text),
        ],
    ),
    (
        "photonPersistentDisk",
        "PhotonPersistentDisk (a Persistent Disk resource in photon platform)",
        &[("PdID:", "pdID", Text), ("FSType:", "fsType", Text)],
    ),
    (
        "fc",
        "FC (a Fibre Channel disk)",
        &[
            ("TargetWWNs:", "targetWWNs", Commas),
            ("LUN:", "lun", IntOrNone),
            ("FSType:", "fsType", Text),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
    (
        "flocker",
        "Flocker (a Flocker volume mounted by the Flocker agent)",
        &[("DatasetName:", "datasetName", Text), ("DatasetUUID:", "datasetUUID", Text)],
    ),
];

/// Sources of pods' volumes.
pub(super) const POD: &[Source] = &[
    (
        "gitRepo",
        "GitRepo (a volume that is pulled from git when the pod is created)",
        &[("Repository:", "repository", Text), ("Revision:", "revision", Text)],
    ),
    (
        "secret",
        "Secret (a volume populated by a Secret)",
        &[("SecretName:", "secretName", Text), ("Optional:", "optional", Bool)],
    ),
    (
        "configMap",
        "ConfigMap (a volume populated by a ConfigMap)",
        &[("Name:", "name", Text), ("Optional:", "optional", Bool)],
    ),
    (
        "iscsi",
        ISCSI,
        &[
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
        ],
    ),
    (
        "glusterfs",
        GLUSTER,
        &[("EndpointsName:", "endpoints", Text), ("Path:", "path", Text), ("ReadOnly:", "readOnly", Bool)],
    ),
    (
        "persistentVolumeClaim",
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        &[("ClaimName:", "claimName", Text), ("ReadOnly:", "readOnly", Bool)],
    ),
    (
        "rbd",
        RBD,
        &[
            ("CephMonitors:", "monitors", Words),
            ("RBDImage:", "image", Text),
            ("FSType:", "fsType", Text),
            ("RBDPool:", "pool", Text),
            ("RadosUser:", "user", Text),
            ("Keyring:", "keyring", Text),
            ("SecretRef:", "secretRef", Local),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
    (
        "cinder",
        CINDER,
        &[
            ("VolumeID:", "volumeID", Text),
            ("FSType:", "fsType", Text),
            ("ReadOnly:", "readOnly", Bool),
            ("SecretRef:", "secretRef", Local),
        ],
    ),
    (
        "scaleIO",
        SCALE_IO,
        &[
            ("Gateway:", "gateway", Text),
            ("System:", "system", Text),
            ("Protection Domain:", "protectionDomain", Text),
            ("Storage Pool:", "storagePool", Text),
            ("Storage Mode:", "storageMode", Text),
            ("VolumeName:", "volumeName", Text),
            ("FSType:", "fsType", Text),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
    (
        "cephfs",
        CEPH,
        &[
            ("Monitors:", "monitors", Words),
            ("Path:", "path", Text),
            ("User:", "user", Text),
            ("SecretFile:", "secretFile", Text),
            ("SecretRef:", "secretRef", Local),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
    ("storageos", STORAGE_OS, STORAGE_OS_FIELDS),
    (
        "azureFile",
        AZURE_FILE,
        &[("SecretName:", "secretName", Text), ("ShareName:", "shareName", Text), ("ReadOnly:", "readOnly", Bool)],
    ),
    (
        "flexVolume",
        FLEX,
        &[
            ("Driver:", "driver", Text),
            ("FSType:", "fsType", Text),
            ("SecretRef:", "secretRef", Local),
            ("ReadOnly:", "readOnly", Bool),
            ("Options:", "options", Map),
        ],
    ),
    (
        "csi",
        "CSI (a Container Storage Interface (CSI) volume source)",
        &[("Driver:", "driver", Text), ("FSType:", "fsType", Text), ("ReadOnly:", "readOnly", Bool)],
    ),
    (
        "image",
        "Image (a container image or OCI artifact)",
        &[("Reference:", "reference", Text), ("PullPolicy:", "pullPolicy", Text)],
    ),
];

const STORAGE_OS_FIELDS: &[(&str, &str, Show)] = &[
    ("VolumeName:", "volumeName", Text),
    ("VolumeNamespace:", "volumeNamespace", Text),
    ("FSType:", "fsType", Text),
    ("ReadOnly:", "readOnly", Bool),
];

/// Sources of PersistentVolumes.
pub(super) const PERSISTENT: &[Source] = &[
    (
        "iscsi",
        ISCSI,
        &[
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
        ],
    ),
    (
        "glusterfs",
        GLUSTER,
        &[
            ("EndpointsName:", "endpoints", Text),
            ("EndpointsNamespace:", "endpointsNamespace", TextOrUnset),
            ("Path:", "path", Text),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
    (
        "rbd",
        RBD,
        &[
            ("CephMonitors:", "monitors", Words),
            ("RBDImage:", "image", Text),
            ("FSType:", "fsType", Text),
            ("RBDPool:", "pool", Text),
            ("RadosUser:", "user", Text),
            ("Keyring:", "keyring", Text),
            ("SecretRef:", "secretRef", Secret),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
    (
        "cinder",
        CINDER,
        &[
            ("VolumeID:", "volumeID", Text),
            ("FSType:", "fsType", Text),
            ("ReadOnly:", "readOnly", Bool),
            ("SecretRef:", "secretRef", Secret),
        ],
    ),
    (
        "scaleIO",
        SCALE_IO,
        &[
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
        ],
    ),
    ("local", "LocalVolume (a persistent volume backed by local storage on a node)", &[("Path:", "path", Text)]),
    (
        "cephfs",
        CEPH,
        &[
            ("Monitors:", "monitors", Words),
            ("Path:", "path", Text),
            ("User:", "user", Text),
            ("SecretFile:", "secretFile", Text),
            ("SecretRef:", "secretRef", Secret),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
    ("storageos", STORAGE_OS, STORAGE_OS_FIELDS),
    (
        "azureFile",
        AZURE_FILE,
        &[
            ("SecretName:", "secretName", Text),
            ("SecretNamespace:", "secretNamespace", Text),
            ("ShareName:", "shareName", Text),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
    (
        "flexVolume",
        FLEX,
        &[
            ("Driver:", "driver", Text),
            ("FSType:", "fsType", Text),
            ("SecretRef:", "secretRef", Secret),
            ("ReadOnly:", "readOnly", Bool),
            ("Options:", "options", Map),
        ],
    ),
    (
        "csi",
        "CSI (a Container Storage Interface (CSI) volume source)",
        &[
            ("Driver:", "driver", Text),
            ("FSType:", "fsType", Text),
            ("VolumeHandle:", "volumeHandle", Text),
            ("ReadOnly:", "readOnly", Bool),
        ],
    ),
];
