//! Addresses and families of Services: what the singular and the plural fields mean together, and what a cluster of one
//! family, IPv4, makes of what is asked for.

use mk8s_api::{
    at,
    field::{FieldError, Path},
    rules,
};
use serde_json::{Value, json};

const ADDRESSES: &str = "clusterIPs";
const FAMILIES: &str = "ipFamilies";
const POLICY: &str = "ipFamilyPolicy";
const SINGLE: &str = "SingleStack";
/// The family that the cluster has.
const FAMILY: &str = "IPv4";

/// Makes `clusterIPs` follow `clusterIP` for clients that know the latter only.
pub(super) fn pair_addresses(service: &mut Value, old: Option<&Value>) {
    let Some(spec) = at::get_mut(service, "spec") else { return };
    let first = at::text(spec, "clusterIP").to_owned();
    let none = at::list(spec, ADDRESSES).is_empty();
    let Some(old) = old.map(|old| at::sub(old, "spec")) else {
        if !first.is_empty() && none {
            at::set(spec, ADDRESSES, json!([first]));
        }
        return;
    };
    let before = at::text(old, "clusterIP");
    if none && !at::list(old, ADDRESSES).is_empty() && before == first {
        at::keep(spec, old, ADDRESSES);
    }
    if before != first && at::list(spec, ADDRESSES) == at::list(old, ADDRESSES) {
        match first.as_str() {
            "" => at::remove(spec, ADDRESSES),
            first => at::set(spec, ADDRESSES, json!([first])),
        }
    }
}

/// Completes families and policy, or says what is wrong with what was asked for.
pub(super) fn complete(service: &mut Value, old: Option<&Value>) -> Result<(), Vec<FieldError>> {
    let of_old = old.map_or(&Value::Null, |old| at::sub(old, "spec"));
    let path = Path::new("spec");
    {
        let Some(spec) = at::get_mut(service, "spec") else { return Ok(()) };
        if at::text(spec, "type") == "ExternalName" {
            return Ok(());
        }
        if !at::has(spec, POLICY) {
            let policy = match at::get(of_old, POLICY) {
                Some(policy) => policy.clone(),
                None if is_free(spec) => json!("RequireDualStack"),
                None => json!(SINGLE),
            };
            at::set(spec, POLICY, policy);
        }
    }
    let errors = rules::validate_service_addresses(service, old);
    if !errors.is_empty() {
        return Err(errors);
    }
    let Some(spec) = at::get_mut(service, "spec") else { return Ok(()) };
    let mut errors = Vec::new();
    if old.is_some() {
        release_second(spec, of_old, &path, &mut errors);
    }
    check_single(spec, &path, &mut errors);
    infer_families(spec, &path, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    let single = at::text(spec, POLICY) == SINGLE;
    if is_free(spec) {
        let mut families = at::list(spec, FAMILIES).to_vec();
        if families.is_empty() {
            families.push(json!(FAMILY));
        }
        if let ([only], false) = (&families[..], single) {
            let other = if only == FAMILY { "IPv6" } else { FAMILY };
            families.push(json!(other));
        }
        at::set(spec, FAMILIES, families);
        return Ok(());
    }
    if at::text(spec, POLICY) == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid(&path.child(POLICY), "RequireDualStack", why));
    }
    for (n, family) in at::texts(spec, FAMILIES).enumerate().filter(|(_, family)| *family != FAMILY) {
        errors.push(FieldError::invalid(&path.child(FAMILIES).index(n), family, "not configured on this cluster"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if at::list(spec, FAMILIES).is_empty() {
        at::set(spec, FAMILIES, json!([FAMILY]));
    }
    Ok(())
}

/// Whether it has neither an address nor pods of its own, so that its families are its own affair.
fn is_free(spec: &Value) -> bool {
    at::text(spec, "clusterIP") == "None" && at::map(spec, "selector").is_empty()
}

/// The second address and family go when only the policy says so, and with no other policy.
fn release_second(spec: &mut Value, old: &Value, path: &Path, errors: &mut Vec<FieldError>) {
    let single = at::text(spec, POLICY) == SINGLE;
    for (field, what) in [(ADDRESSES, "cluster IP"), (FAMILIES, "IP family")] {
        let (now, before) = (at::list(spec, field), at::list(old, field));
        if single && now == before && now.len() > 1 {
            let first = now[0].clone();
            at::set(spec, field, json!([first]));
        } else if !single && now.len() == 1 && before.len() == 2 {
            let why = format!("must be 'SingleStack' to release the secondary {what}");
            errors.push(FieldError::invalid(&path.child(POLICY), at::text(spec, POLICY), why));
        }
    }
}

fn check_single(spec: &Value, path: &Path, errors: &mut Vec<FieldError>) {
    if at::text(spec, POLICY) != SINGLE {
        return;
    }
    for (field, what) in [(ADDRESSES, "cluster IPs"), (FAMILIES, "IP families")] {
        if at::list(spec, field).len() == 2 {
            let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            errors.push(FieldError::invalid(&path.child(POLICY), SINGLE, why));
        }
    }
}

/// Addresses say their families.
fn infer_families(spec: &mut Value, path: &Path, errors: &mut Vec<FieldError>) {
    let addresses = at::list(spec, ADDRESSES).to_vec();
    let mut families = at::list(spec, FAMILIES).to_vec();
    for (n, address) in addresses.iter().enumerate().take_while(|(_, address)| *address != "None") {
        if n < families.len() {
            continue;
        }
        match address.as_str().is_some_and(|address| address.contains(':')) {
            true => {
                let path = path.child(ADDRESSES).index(n);
                errors.push(FieldError::invalid(&path, addresses.clone(), "IPv6 is not configured on this cluster"));
            }
            false => families.push(json!(FAMILY)),
        }
    }
    if !families.is_empty() {
        at::set(spec, FAMILIES, families);
    }
}
