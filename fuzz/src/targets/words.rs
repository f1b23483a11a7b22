//! Small languages: what is read can be written and read again.

use jiff::{Timestamp, tz::TimeZone};
use mk8s_api::{
    cron::Schedule,
    json_path::Template,
    quantity::Quantity,
    select::{FieldSelector, LabelSelector},
};
use mk8s_server::http::{path, query::Query};

use super::Feed;
use crate::{corpus, mutate};

fn texts(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

pub(super) fn selectors() -> Feed {
    let corpus = texts(&[
        "a=b,c!=d",
        "e in (f,g),h notin (i)",
        "j,!k",
        "l>1,m<22",
        "app.kubernetes.io/name==web",
        "x in (),y",
        "metadata.name=a",
        "status.phase!=Running,spec.nodeName=",
        "a=b\\,c\\=d\\\\",
    ]);
    Box::new(move |dice| {
        let text = mutate::text(dice, &corpus);
        if let Ok(selector) = LabelSelector::parse(&text) {
            let again = LabelSelector::parse(&selector.to_string()).expect("what is written can be read");
            assert_eq!(again, selector, "{text:?}");
        }
        if let Ok(selector) = FieldSelector::parse(&text) {
            let again = FieldSelector::parse(&selector.to_string()).expect("what is written can be read");
            // The order of terms is that of their texts, in which the same may be escaped or not.
            let pieces = |selector: &FieldSelector| {
                let mut pieces: Vec<String> = selector.to_string().split(',').map(str::to_owned).collect();
                pieces.sort_unstable();
                pieces
            };
            assert_eq!(pieces(&again), pieces(&selector), "{text:?}");
        }
        let value = mutate::value(
            dice,
            &[
                serde_json::json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}),
            ],
        );
        drop(LabelSelector::from_json(&value));
    })
}

pub(super) fn schedules() -> Feed {
    let corpus = texts(&[
        "*/15 * * * *",
        "0 0 29 feb ?",
        "30 4 1,15 * fri",
        "5/10 1-3 * Jan-Mar Mon-Wed",
        "@yearly",
        "@every 1h30m",
        "@every 1.5s",
        "TZ=America/Sao_Paulo 30 0 4 11 *",
        "CRON_TZ=UTC 59 23 31 12 6",
    ]);
    Box::new(move |dice| {
        let text = mutate::text(dice, &corpus);
        let Ok(schedule) = Schedule::parse(&text, TimeZone::UTC) else { return };
        let mut time = Timestamp::UNIX_EPOCH;
        for _ in 0..4 {
            let Some(next) = schedule.next(time) else { return };
            assert!(next > time, "{text:?} after {time}");
            time = next;
        }
    })
}

pub(super) fn quantities() -> Feed {
    let corpus = texts(&[
        "100m",
        "1.5Gi",
        "2e3",
        "-1",
        "+0.5",
        "1E",
        "12345678901234567890",
        "0.000000001",
        "1e-9",
        "9Ei",
        "3n",
        "4u",
    ]);
    Box::new(move |dice| {
        let text = mutate::text(dice, &corpus);
        let Ok(quantity) = Quantity::parse(&text) else { return };
        let canonical = quantity.to_string();
        let again = Quantity::parse(&canonical).expect("what is written can be read");
        assert_eq!((again, again.to_string()), (quantity, canonical), "{text:?}");
        let _ = (quantity + again, quantity - again, quantity.value(), quantity.millis(), quantity.as_f64());
    })
}

pub(super) fn paths() -> Feed {
    let corpus = texts(&[
        "/api/v1/namespaces/a/pods/p/log",
        "/apis/apps/v1/deployments/%2e%2e",
        "/api/v1/watch/namespaces/a/pods",
        "/api/v1/namespaces/a/services/https:s:80/proxy/x//y/../z",
        "watch=1&resourceVersion=5&labelSelector=a%3Db&limit=5",
        "dryRun=All&fieldManager=m&fieldValidation=Strict",
        "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ&fieldSelector=metadata.name%3Da",
        "gracePeriodSeconds=0&propagationPolicy=Foreground",
        "timeoutSeconds=-1&sendInitialEvents=true",
    ]);
    Box::new(move |dice| {
        let text = mutate::text(dice, &corpus);
        let _ = path::parse(&text);
        let query = Query::parse(Some(&text));
        let _ = (query.list_options(), query.write_options("CreateOptions"));
    })
}

pub(super) fn jsonpath() -> Feed {
    let corpus = texts(&[
        "{.items[*].metadata.name}",
        "{range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{\"\\n\"}{end}",
        "{.spec.containers[?(@.name==\"web\")].image}",
        "{..name}",
        "{.spec.containers[-1:].ports[0:2:1]}",
        "{['metadata','spec']['name']}",
        "{$.kind}",
        "{.metadata.labels.a\\.b/c}",
        "NAME:.metadata.name",
        "{.x[?(@.a>1)]}{.y[?(@.b<=2.5)]}{.z[?(@.c)]}",
        "{@}",
    ]);
    Box::new(move |dice| {
        let text = mutate::text(dice, &corpus);
        // These multiply what is found; whoever writes many of them wants to wait.
        let multiplies = ["..", "$", "range", "*"].iter().map(|word| text.matches(word).count()).sum::<usize>();
        if multiplies > 4 {
            return;
        }
        let object = dice.pick(&corpus::OBJECTS);
        for template in [Template::parse(&text), Template::relaxed(&text)].into_iter().flatten() {
            let _ = template.render(object);
        }
    })
}
