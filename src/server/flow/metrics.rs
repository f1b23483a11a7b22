//! What is counted of fairness, under Kubernetes' names.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use mk8s_api::exposition::{header, line};

use super::{
    config::Config,
    seats::{Counts, Level, Rejected},
};

type OfLevel = fn(&Level) -> u32;
type OfCounts = fn(&Counts) -> u64;

pub(super) fn render(config: &Config) -> String {
    let mut text = String::new();
    let levels: [(&str, &str, OfLevel); 6] = [
        ("apiserver_flowcontrol_nominal_limit_seats", "Seats of a priority level.", |level| level.limits().nominal),
        ("apiserver_flowcontrol_lower_limit_seats", "Seats it keeps when others borrow.", |level| level.limits().lower),
        ("apiserver_flowcontrol_upper_limit_seats", "Seats it may borrow up to.", |level| level.limits().upper),
        ("apiserver_flowcontrol_current_limit_seats", "Seats it has now.", Level::limit),
        ("apiserver_flowcontrol_current_executing_seats", "Seats that are taken.", Level::executing),
        ("apiserver_flowcontrol_current_waiting_requests", "Requests that wait.", Level::waiting),
    ];
    for (name, help, of) in levels {
        header(&mut text, name, "gauge", help);
        for level in config.levels.values() {
            line(&mut text, format_args!("{name}{{priority_level=\"{}\"}} {}", level.name, of(level)));
        }
    }
    let counts: [(&str, &str, &str, OfCounts); 3] = [
        ("apiserver_flowcontrol_dispatched_requests_total", "counter", "Requests that were let through.", |counts| {
            counts.dispatched.load(Relaxed)
        }),
        ("apiserver_flowcontrol_current_executing_requests", "gauge", "Requests under way.", |counts| {
            counts.executing.load(Relaxed).into()
        }),
        ("apiserver_flowcontrol_current_inqueue_requests", "gauge", "Requests that wait.", |counts| {
            counts.waiting.load(Relaxed).into()
        }),
    ];
    for (name, kind, help, of) in counts {
        header(&mut text, name, kind, help);
        for (schema, level, counts) in config.counts() {
            line(
                &mut text,
                format_args!("{name}{{flow_schema=\"{schema}\",priority_level=\"{level}\"}} {}", of(counts)),
            );
        }
    }
    let name = "apiserver_flowcontrol_rejected_requests_total";
    header(&mut text, name, "counter", "Requests that were refused.");
    for (schema, level, counts) in config.counts() {
        for (rejected, count) in Rejected::ALL.into_iter().zip(&counts.rejected) {
            let count = count.load(Relaxed);
            if count > 0 {
                let reason = rejected.word();
                let labels = format!("flow_schema=\"{schema}\",priority_level=\"{level}\",reason=\"{reason}\"");
                line(&mut text, format_args!("{name}{{{labels}}} {count}"));
            }
        }
    }
    let name = "apiserver_flowcontrol_request_wait_duration_seconds";
    header(&mut text, name, "summary", "How long requests waited that had to.");
    for (schema, level, counts) in config.counts() {
        let labels = format!("flow_schema=\"{schema}\",priority_level=\"{level}\"");
        let seconds = Duration::from_micros(counts.waited_us.load(Relaxed)).as_secs_f64();
        line(&mut text, format_args!("{name}_sum{{{labels}}} {seconds}"));
        line(&mut text, format_args!("{name}_count{{{labels}}} {}", counts.waited.load(Relaxed)));
    }
    text
}
