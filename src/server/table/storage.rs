//! Volumes, claims and classes.

use jiff::Timestamp;
use mk8s_api::meta;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{UNSET, age, items, name, plain_or, text, text_or, texts},
};

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub(super) fn printers() -> Declared {
    let group = "storage.k8s.io";
    let volumes = "Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|+VolumeMode";
    let claims = "Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|+VolumeMode";
    let drivers = "Name|AttachRequired:boolean|PodInfoOnMount:boolean|StorageCapacity:boolean|TokenRequests|RequiresRepublish:boolean|Modes|Age";
    vec![
        ("", "PersistentVolume", Printer::of(volumes, volume)),
        ("", "PersistentVolumeClaim", Printer::of(claims, claim)),
        (
            group,
            "StorageClass",
            Printer::of("Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age", storage_class),
        ),
        (
            group,
            "VolumeAttributesClass",
            Printer::of("Name|DriverName|Age", |o, now| vec![name(o), json!(text(&o["driverName"])), age(o, now)]),
        ),
        (group, "VolumeAttachment", Printer::of("Name|Attacher|PV|Node|Attached:boolean|Age", attachment)),
        (group, "CSIDriver", Printer::of(drivers, driver)),
        (
            group,
            "CSIStorageCapacity",
            Printer::of("Name|StorageClassName|Capacity", |o, _| {
                vec![name(o), json!(text(&o["storageClassName"])), json!(plain_or(&o["capacity"], UNSET))]
            }),
        ),
    ]
}

fn modes(list: &Value) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| items(list).iter().any(|known| known == mode);
    short.into_iter().filter(|(mode, _)| has(mode)).map(|(_, short)| short).collect::<Vec<_>>().join(",")
}

fn phase(object: &Value) -> &str {
    if meta::is_deleting(object) { "Terminating" } else { text(&object["status"]["phase"]) }
}

fn class(object: &Value) -> &str {
    meta::annotation(object, CLASS_ANNOTATION).unwrap_or_else(|| text(&object["spec"]["storageClassName"]))
}

fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let bound = &spec["claimRef"];
    let claim = if bound.is_object() {
        format!("{}/{}", text(&bound["namespace"]), text(&bound["name"]))
    } else {
        String::new()
    };
    vec![
        name(object),
        json!(plain_or(&spec["capacity"]["storage"], "0")),
        json!(modes(&spec["accessModes"])),
        json!(text(&spec["persistentVolumeReclaimPolicy"])),
        json!(phase(object)),
        json!(claim),
        json!(class(object)),
        json!(text_or(&spec["volumeAttributesClassName"], UNSET)),
        json!(text(&object["status"]["reason"])),
        age(object, now),
        json!(text_or(&spec["volumeMode"], UNSET)),
    ]
}

fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let bound = !text(&spec["volumeName"]).is_empty();
    let (capacity, access) = match bound {
        true => (plain_or(&status["capacity"]["storage"], "0"), modes(&status["accessModes"])),
        false => (String::new(), String::new()),
    };
    vec![
        name(object),
        json!(phase(object)),
        json!(text(&spec["volumeName"])),
        json!(capacity),
        json!(access),
        json!(class(object)),
        json!(text_or(&spec["volumeAttributesClassName"], UNSET)),
        age(object, now),
        json!(text_or(&spec["volumeMode"], UNSET)),
    ]
}

fn storage_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let default = IS_DEFAULT.iter().any(|key| meta::annotation(object, key) == Some("true"));
    let suffix = if default { " (default)" } else { "" };
    vec![
        json!(format!("{}{suffix}", meta::name(object))),
        json!(text(&object["provisioner"])),
        json!(text_or(&object["reclaimPolicy"], "Delete")),
        json!(text_or(&object["volumeBindingMode"], "Immediate")),
        json!(object["allowVolumeExpansion"].as_bool().unwrap_or_default()),
        age(object, now),
    ]
}

fn attachment(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        name(object),
        json!(text(&spec["attacher"])),
        json!(text(&spec["source"]["persistentVolumeName"])),
        json!(text(&spec["nodeName"])),
        json!(object["status"]["attached"].as_bool().unwrap_or_default()),
        age(object, now),
    ]
}

fn driver(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let flag = |field: &str, absent: bool| json!(spec[field].as_bool().unwrap_or(absent));
    let audiences: Vec<&str> = items(&spec["tokenRequests"]).iter().map(|request| text(&request["audience"])).collect();
    let modes = texts(&spec["volumeLifecycleModes"]).join(",");
    vec![
        name(object),
        flag("attachRequired", true),
        flag("podInfoOnMount", false),
        flag("storageCapacity", false),
        json!(if spec["tokenRequests"].is_array() { audiences.join(",") } else { UNSET.to_string() }),
        flag("requiresRepublish", false),
        json!(if modes.is_empty() { "<none>".to_string() } else { modes }),
        age(object, now),
    ]
}
