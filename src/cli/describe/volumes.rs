//! Where volumes come from: the sources of pods' volumes and of PersistentVolumes.

use super::{
    fields::{go, go_list, int, list, pairs, quantity, text, truth, words},
    page::{Page, line, put, shortened},
    storage,
    volume_sources::{PERSISTENT, POD, SHARED, Show, Source},
};
use mk8s_api::quantity::Quantity;
use serde_json::{Value, json};
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
    let [empty, projected, ephemeral, downward] = ["emptyDir", "projected", "ephemeral", "downwardAPI"]
        .map(|field| volume.get(field).filter(|source| !source.is_null()));
    if let Some(source) = empty {
        empty_dir(source, page);
    } else if let Some(source) = ephemeral {
        line!(
            page,
            2,
            "Type:\tEphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)"
        );
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
    let Some((field, what, fields)) = all.into_iter().find(|(field, _, _)| from[*field].is_object()) else {
        return false;
    };
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
        Show::Text => text(value).to_owned(),
        Show::TextOrNone => value.as_str().unwrap_or("<none>").to_owned(),
        Show::TextOrUnset => value.as_str().unwrap_or("<unset>").to_owned(),
        Show::Int => int(value).to_string(),
        Show::IntOrNone => value.as_i64().map_or_else(|| "<none>".to_owned(), |number| number.to_string()),
        Show::Bool => truth(value).to_string(),
        Show::Words => go_list(&words(value)),
        Show::Commas => words(value).join(", "),
        Show::Map => go(if value.is_null() { &NO_OPTIONS } else { value }),
        Show::Local => fields("LocalObjectReference", &[("Name", "name")]),
        Show::Secret => fields("SecretReference", &[("Name", "name"), ("Namespace", "namespace")]),
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
        line!(
            page,
            2,
            "ConfigMapName:\t{}\n    Optional:\t{}",
            text(&config_map["name"]),
            truth(&config_map["optional"])
        );
    } else if !part["serviceAccountToken"].is_null() {
        line!(page, 2, "TokenExpirationSeconds:\t{}", int(&part["serviceAccountToken"]["expirationSeconds"]));
    }
}
