//! Devices that several claims have shares of, and constraints that tell devices apart.

use super::{on_one_node, refused};
use expect_test::expect;

fn nothing() -> String {
    refused("cannot allocate all claims")
}

/// A device with so much capacity that can be shared, and with further fields.
fn device(name: &str, capacity: &str, further: &str) -> String {
    let value = if capacity.is_empty() { String::new() } else { format!("capacity: {{x: {{value: '{capacity}'}}}}, ") };
    format!("{{name: {name}, {value}allowMultipleAllocations: true{further}}}")
}

/// One of which amounts from 2 to 4 in steps of 2 can be had.
fn ranged(name: &str, capacity: &str) -> String {
    let policy = "requestPolicy: {default: '2', validRange: {min: '2', max: '4', step: '2'}}";
    format!("{{name: {name}, capacity: {{x: {{value: '{capacity}', {policy}}}}}, allowMultipleAllocations: true}}")
}

/// One of which a few amounts can be had.
fn valued(name: &str, capacity: &str, default: &str, values: &str) -> String {
    let policy = format!("requestPolicy: {{default: '{default}', validValues: [{values}]}}");
    format!("{{name: {name}, capacity: {{x: {{value: '{capacity}', {policy}}}}}, allowMultipleAllocations: true}}")
}

fn share(name: &str, amount: &str) -> String {
    let capacity = match amount {
        "" => String::new(),
        amount => format!(", capacity: {{requests: {{x: '{amount}'}}}}"),
    };
    format!("{{name: {name}, exactly: {{deviceClassName: shared{capacity}}}}}")
}

fn all(name: &str, amount: &str) -> String {
    share(name, amount).replace("deviceClassName: shared", "deviceClassName: shared, allocationMode: All")
}

/// What claims for these requests get, each for one.
fn claims(devices: &[String], others: &str, requests: &[String]) -> String {
    let specs: Vec<String> = requests.iter().map(|request| format!("requests: [{request}]")).collect();
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    on_one_node(&[&format!("devices: [{}]", devices.join(", "))], others, &specs)
}

/// What one claim for all of them gets.
fn together(devices: &[String], others: &str, requests: &[String]) -> String {
    let spec = format!("requests: [{}]", requests.join(", "));
    on_one_node(&[&format!("devices: [{}]", devices.join(", "))], others, &[&spec])
}

/// Somebody has a share of `d1`.
fn held(amount: &str) -> String {
    let result =
        format!("{{request: r, driver: d, pool: p, device: d1, shareID: s, consumedCapacity: {{x: '{amount}'}}}}");
    format!(
        "- {{metadata: {{name: h, namespace: n, uid: h}}, spec: {{}}, status: {{allocation: {{devices: {{results: [{result}]}}}}}}}}\n"
    )
}

#[test]
fn shares_take_what_they_ask_for() {
    let given = |devices: &[String], amounts: &[&str]| {
        let requests: Vec<String> = amounts.iter().map(|amount| share("r", amount)).collect();
        claims(devices, "", &requests)
    };
    let one = |capacity: &str| [device("d1", capacity, "")];
    expect!["a with r: p/d1 {}, r: p/d1 {}"].assert_eq(&given(&one(""), &["", ""]));
    expect!["a with r: p/d1 {x: 1}, r: p/d1 {x: 1}"].assert_eq(&given(&one("2"), &["1", "1"]));
    assert_eq!(given(&one("2"), &["1", "2"]), nothing());
    // Who asks for nothing takes all.
    assert_eq!(given(&one("2"), &["", ""]), nothing());
    let two = [device("d1", "1", ""), device("d2", "1", "")];
    expect!["a with r: p/d1 {x: 1}, r: p/d2 {x: 1}"].assert_eq(&given(&two, &["", ""]));
    let unknown = share("r", "1").replace("x: '1'", "y: '1'");
    assert_eq!(claims(&one("1"), "", &[unknown]), nothing());
}

#[test]
fn amounts_are_rounded_up_to_what_can_be_had() {
    let given = |device: String, amounts: &[&str]| {
        let requests: Vec<String> = amounts.iter().map(|amount| share("r", amount)).collect();
        claims(&[device], "", &requests)
    };
    expect!["a with r: p/d1 {x: 2}, r: p/d1 {x: 2}"].assert_eq(&given(ranged("d1", "4"), &["", ""]));
    expect!["a with r: p/d1 {x: 2}, r: p/d1 {x: 2}"].assert_eq(&given(ranged("d1", "4"), &["1", "1"]));
    expect!["a with r: p/d1 {x: 4}"].assert_eq(&given(ranged("d1", "4"), &["3"]));
    assert_eq!(given(ranged("d1", "2"), &["1", "2"]), nothing());
    // More than the largest amount, though there is enough.
    assert_eq!(given(ranged("d1", "10"), &["6"]), nothing());
    expect!["a with r: p/d1 {x: 2}"].assert_eq(&given(valued("d1", "4", "1", "'1', '2'"), &["2"]));
    expect!["a with r: p/d1 {x: 3}"].assert_eq(&given(valued("d1", "3", "1", "'1', '3'"), &["2"]));
    expect!["a with r: p/d1 {x: 0}, r: p/d1 {x: 0}"].assert_eq(&given(valued("d1", "1", "0", "'0'"), &["", ""]));
    assert_eq!(given(valued("d1", "1", "0", "'0'"), &["1"]), nothing());
}

#[test]
fn what_others_share_is_left_to_them() {
    let two = [share("r", "2")];
    expect!["a with r: p/d1 {x: 2}"].assert_eq(&claims(&[ranged("d1", "4")], &held("2"), &two));
    expect!["a with r: p/d2 {x: 2}"].assert_eq(&claims(&[ranged("d1", "2"), ranged("d2", "2")], &held("2"), &two));
    assert_eq!(claims(&[ranged("d1", "2")], &held("2"), &two), nothing());
    // Somebody has all of it, from when it was not shared.
    let whole = held("2").replace("shareID: s, ", "");
    assert_eq!(claims(&[ranged("d1", "4")], &whole, &two), nothing());
    // It is not shared any more, and somebody has a share yet.
    let plain = "{name: d1, capacity: {x: {value: '4'}}}".to_owned();
    let any = [share("r", "2").replace("shared", "any")];
    assert_eq!(claims(std::slice::from_ref(&plain), &held("2"), &any), nothing());
    expect!["a with r: p/d1"].assert_eq(&claims(&[plain], "", &any));
}

#[test]
fn a_request_for_all_means_those_with_enough() {
    let of = |capacities: [&str; 2]| [device("d1", capacities[0], ""), device("d2", capacities[1], "")];
    expect!["a with r: p/d1 {x: 2}"].assert_eq(&together(&of(["2", ""]), "", &[all("r", "2")]));
    expect!["a with r: p/d1 {x: 2}"].assert_eq(&together(&of(["2", "1"]), "", &[all("r", "2")]));
    expect!["a with r: p/d1 {x: 1}, s: p/d1 {x: 1}, s: p/d2 {x: 1}"].assert_eq(&together(
        &of(["2", "1"]),
        "",
        &[share("r", "1"), all("s", "1")],
    ));
    assert_eq!(together(&of(["1", "1"]), "", &[share("r", "1"), all("s", "1")]), nothing());
    expect!["a with r: p/d1 {x: 1}, r: p/d2 {x: 1}"].assert_eq(&together(
        &of(["2", "1"]),
        &held("1"),
        &[all("r", "1")],
    ));
    expect!["a with r: p/d2 {x: 1}"].assert_eq(&together(&of(["1", "1"]), &held("1"), &[all("r", "1")]));
}

#[test]
fn a_later_choice_cures_an_earlier_one() {
    let devices = [device("d1", "4", ""), device("d2", "2", "")];
    let given = together(&devices, "", &[share("r", "2"), share("s", "4")]);
    expect!["a with r: p/d2 {x: 2}, s: p/d1 {x: 4}"].assert_eq(&given);
}

/// A device that is shared consumes counters once.
#[test]
fn shared_devices_are_cut_out_of_others() {
    let part = |name: &str, of_card: u32, capacity: u32| {
        let counters = format!(", consumesCounters: [{{counterSet: card, counters: {{m: {{value: '{of_card}'}}}}}}]");
        device(name, &capacity.to_string(), &counters)
    };
    let slices = |of_card: u32, devices: &[String]| {
        let card = format!("sharedCounters: [{{name: card, counters: {{m: {{value: '{of_card}'}}}}}}]");
        [card, format!("devices: [{}]", devices.join(", "))]
    };
    let given = |[card, devices]: [String; 2], others: &str, requests: &[String]| {
        on_one_node(&[&card, &devices], others, &[&format!("requests: [{}]", requests.join(", "))])
    };
    let parts = [part("d1", 2, 2), part("d2", 4, 4), part("d3", 2, 2)];
    let requests = [share("r", "1"), share("s", "2"), share("t", "1")];
    expect!["a with r: p/d1 {x: 1}, s: p/d3 {x: 2}, t: p/d1 {x: 1}"].assert_eq(&given(
        slices(4, &parts),
        "",
        &requests,
    ));
    let held = held("1");
    expect!["a with r: p/d1 {x: 1}"].assert_eq(&given(slices(2, &parts), &held, &[share("r", "1")]));
    assert_eq!(given(slices(2, &parts), &held, &[share("r", "2")]), nothing());
}

#[test]
fn devices_of_one_claim_differ() {
    let device = |name: &str, numa: u32, side: bool| {
        let numa = format!(", attributes: {{numa: {{int: {numa}}}, side: {{bool: {side}}}}}");
        device(name, "", &numa)
    };
    let given = |devices: &[String], requests: &str, constraints: &str| {
        let spec = format!("requests: [{requests}], constraints: [{constraints}]");
        on_one_node(&[&format!("devices: [{}]", devices.join(", "))], "", &[&spec])
    };
    let devices = [device("d1", 0, true), device("d2", 1, false), device("d3", 2, true), device("d4", 0, true)];
    let four = ["r", "s", "t"].map(|name| share(name, "")).join(", ");
    let numa = "{distinctAttribute: d/numa}";
    expect!["a with r: p/d1 {}, s: p/d2 {}, t: p/d3 {}"].assert_eq(&given(&devices, &four, numa));
    let some = "{requests: [r, s], distinctAttribute: d/side}";
    expect!["a with r: p/d1 {}, s: p/d2 {}, t: p/d1 {}"].assert_eq(&given(&devices, &four, some));
    assert_eq!(given(&devices, &four, "{distinctAttribute: d/side}"), nothing());
    assert_eq!(given(&devices, &four, "{distinctAttribute: d/none}"), nothing());
    // Within one request, too.
    let many = |count: u32| format!("{{name: r, exactly: {{deviceClassName: any, count: {count}}}}}");
    expect!["a with r: p/d1 {}, r: p/d2 {}, r: p/d3 {}"].assert_eq(&given(&devices, &many(3), numa));
    assert_eq!(given(&devices, &many(4), numa), nothing());
}
