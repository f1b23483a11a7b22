//! Plain writes: who wrote is noted in the object.

use jiff::Timestamp;
use mk8s_api::{
    apply::{Versions, Writer, write},
    meta,
};
use serde_json::{Map, Value};

use super::versions::Kinds;
use crate::registry::{Call, Registry};

const FIELD: &str = "managedFields";

impl Registry {
    /// Notes who makes an object.
    pub(in crate::registry) fn note_create(&self, call: &Call<'_>, object: &mut Value) {
        let zero = call.resource.zero("");
        self.writing(call, &call.options.manager, |writer| write::create(writer, zero, object));
    }

    /// Notes in `new` who changes `old`.
    pub(in crate::registry) fn note_update(&self, call: &Call<'_>, old: &Value, new: &mut Value) {
        self.writing(call, &call.options.manager, |writer| write::update(writer, old, new));
    }

    /// Calls with what is known of the writer of a request.
    pub(in crate::registry) fn writing<T>(
        &self,
        call: &Call<'_>,
        name: &str,
        then: impl FnOnce(&Writer<'_>) -> T,
    ) -> T {
        let versions = Kinds::new(&self.resources, call.resource, call.subresource);
        let now = meta::format_time(Timestamp::now());
        then(&Writer {
            name,
            api_version: call.resource.api_version_of(call.subresource),
            subresource: call.subresource,
            now: &now,
            counted: call.resource.counted(call.subresource),
            versions: &versions as &dyn Versions,
        })
    }
}

/// Whether only the times of the managers differ between two states: then the write changes nothing.
pub(in crate::registry) fn only_times_differ(new: &Value, old: &Value) -> bool {
    let entries =
        |object: &Value| -> usize { meta::metadata(object).get(FIELD).and_then(Value::as_array).map_or(0, Vec::len) };
    if entries(new) == 0 || entries(new) != entries(old) {
        return false;
    }
    let same_but = |a: &Map<String, Value>, b: &Map<String, Value>, but: &str| {
        let counted = |(name, _): &(&String, &Value)| *name != but;
        a.iter().filter(counted).eq(b.iter().filter(counted))
    };
    let untimed = |at: usize| {
        let (a, b) = (&meta::metadata(new)[FIELD][at], &meta::metadata(old)[FIELD][at]);
        a.as_object().zip(b.as_object()).is_some_and(|(a, b)| same_but(a, b, "time"))
    };
    (0..entries(new)).all(untimed)
        && same_but(meta::metadata(new), meta::metadata(old), FIELD)
        && new.as_object().zip(old.as_object()).is_some_and(|(a, b)| same_but(a, b, "metadata"))
}
