//! Patches: applied or refused; an object does not nest deeper than it may, nor does a patch of itself change it.

use mk8s_api::{
    decode::{DEPTH, nests_within},
    kinds, meta,
    patch::{json_patch, merge_patch, strategic},
    schema,
};
use mk8s_server::registry::{Patch, PatchKind};
use serde_json::{Value, json};

use super::Feed;
use crate::{
    corpus,
    mutate::{self, Dice},
};

pub(super) fn json() -> Feed {
    Box::new(|dice| {
        let object = dice.pick(&corpus::OBJECTS);
        let mut patch = operations(dice, object);
        if dice.one_in(2) {
            patch = mutate::value(dice, &[patch]);
        }
        let mut bytes = patch.to_string().into_bytes();
        if dice.one_in(4) {
            bytes = mutate::bytes(dice, &[bytes]);
        }
        if Patch::read(PatchKind::Json, &bytes).is_ok()
            && let Ok(patched) = json_patch(object, &bytes)
        {
            assert!(nests_within(&patched, DEPTH));
        }
    })
}

/// Operations on places that the object has, or nearly has.
fn operations(dice: &mut Dice, object: &Value) -> Value {
    let count = dice.below(8) + 1;
    let operation = |dice: &mut Dice| {
        let (path, from) = (pointer(dice, object), pointer(dice, object));
        let value = mutate::value(dice, &[json!({"a": [1, {"b": "c"}]}), json!("x"), object.clone()]);
        match dice.below(6) {
            0 => json!({"op": "add", "path": path, "value": value}),
            1 => json!({"op": "replace", "path": path, "value": value}),
            2 => json!({"op": "remove", "path": path}),
            3 => json!({"op": "move", "path": path, "from": from}),
            4 => json!({"op": "copy", "path": path, "from": from}),
            _ => json!({"op": "test", "path": path, "value": object.pointer(&path)}),
        }
    };
    (0..count).map(|_| operation(dice)).collect()
}

fn pointer(dice: &mut Dice, object: &Value) -> String {
    let (mut at, mut path) = (object, String::new());
    while !dice.one_in(4) {
        let next = match at {
            Value::Object(map) if !map.is_empty() => {
                let index = dice.below(map.len());
                map.iter().nth(index).map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value))
            }
            Value::Array(list) if !list.is_empty() => {
                let index = dice.below(list.len());
                Some((index.to_string(), &list[index]))
            }
            _ => None,
        };
        let Some((segment, value)) = next else { break };
        path = format!("{path}/{segment}");
        at = value;
    }
    match dice.below(8) {
        0 => format!("{path}/-"),
        1 => format!("{path}/new"),
        2 => format!("{path}{}", dice.pick(&["/0", "/01", "~", "/~2", "//", "/-1", "/18446744073709551616"])),
        _ => path,
    }
}

/// A patch as merge patches are read: nothing that nests too deeply.
fn read(kind: PatchKind, dice: &mut Dice) -> Option<Value> {
    let mut bytes = mutate::value(dice, &corpus::OBJECTS).to_string().into_bytes();
    if dice.one_in(4) {
        bytes = mutate::bytes(dice, &[bytes]);
    }
    Patch::read(kind, &bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

pub(super) fn merge() -> Feed {
    Box::new(|dice| {
        let object = dice.pick(&corpus::OBJECTS);
        let Some(patch) = read(PatchKind::Merge, dice) else { return };
        let patched = merge_patch(object.clone(), &patch);
        assert!(nests_within(&patched, DEPTH));
        assert_eq!(merge_patch(patched.clone(), &patch), patched, "a merge patch twice is once");
    })
}

pub(super) fn strategic() -> Feed {
    Box::new(|dice| {
        let object = dice.pick(&corpus::OBJECTS);
        let (group, version) = kinds::split_api_version(meta::api_version(object));
        let Some(schema) = schema::schema_of(group, version, meta::kind(object)) else { return };
        let mut patch = match dice.one_in(2) {
            // Of the object itself, so that lists meet lists.
            true => mutate::value(dice, std::slice::from_ref(object)),
            false => read(PatchKind::Strategic, dice).unwrap_or_default(),
        };
        direct(dice, &mut patch);
        if let Ok(patched) = strategic::apply(schema, object.clone(), &patch) {
            assert!(nests_within(&patched, DEPTH));
        }
    })
}

/// Puts directives in some places.
fn direct(dice: &mut Dice, patch: &mut Value) {
    match patch {
        Value::Object(map) => {
            let lists: Vec<String> =
                map.iter().filter(|(_, value)| value.is_array()).map(|(key, _)| key.clone()).collect();
            for name in lists {
                let list = map[&name].clone();
                match dice.below(8) {
                    0 => drop(map.insert(format!("$setElementOrder/{name}"), list)),
                    1 => drop(map.insert(format!("$deleteFromPrimitiveList/{name}"), list)),
                    _ => {}
                }
            }
            match dice.below(20) {
                0 => drop(map.insert("$patch".into(), json!(dice.pick(&["replace", "delete", "merge", "other"])))),
                1 => drop(map.insert("$retainKeys".into(), map.keys().take(2).cloned().collect())),
                _ => {}
            }
            map.values_mut().for_each(|value| direct(dice, value));
        }
        Value::Array(list) => list.iter_mut().for_each(|item| direct(dice, item)),
        _ => {}
    }
}
