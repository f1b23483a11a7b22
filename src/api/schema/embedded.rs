//! Structs within structs of Go that JSON does not show: the decoder's errors name them in the path of a field.

/// The path of the struct that has the field, within the one that shows it.
pub(super) fn within(owner: &str, field: &str) -> Option<&'static str> {
    match owner {
        "v1.ConfigMapEnvSource"
        | "v1.ConfigMapKeySelector"
        | "v1.ConfigMapProjection"
        | "v1.ConfigMapVolumeSource"
        | "v1.SecretEnvSource"
        | "v1.SecretKeySelector"
        | "v1.SecretProjection" => (field == "name").then_some("LocalObjectReference"),
        "v1.DeviceAllocationConfiguration" | "v1.DeviceClaimConfiguration" | "v1.DeviceClassConfiguration" => {
            (field == "opaque").then_some("DeviceConfiguration")
        }
        "v1.EphemeralContainer" => (field != "targetContainerName").then_some("EphemeralContainerCommon"),
        "v1.IngressRule" => (field == "http").then_some("IngressRuleValue"),
        "v1.NamedRuleWithOperations" => match field {
            "resourceNames" => None,
            "operations" => Some("RuleWithOperations"),
            _ => Some("RuleWithOperations.Rule"),
        },
        "v1.RuleWithOperations" => (field != "operations").then_some("Rule"),
        "v1.PersistentVolumeSpec" => (!OF_VOLUMES.contains(&field)).then_some("PersistentVolumeSource"),
        "v1.Probe" => matches!(field, "exec" | "grpc" | "httpGet" | "tcpSocket").then_some("ProbeHandler"),
        "v1.Volume" => (field != "name").then_some("VolumeSource"),
        _ => None,
    }
}

/// The fields of a PersistentVolume's specification that say nothing of where its data lies.
const OF_VOLUMES: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];
