use super::*;
use jiff::{SignedDuration, ToSpan};

fn event(reason: &str, message: &str, now: Timestamp) -> Event {
    let about = ObjectReference { name: Some("p".into()), namespace: Some("n".into()), ..ObjectReference::default() };
    let source = EventSource { component: Some("test".into()), host: None };
    new_event(&source, about, EventType::Warning, reason, message.to_owned(), now)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + seconds)
}

#[test]
fn a_repeated_event_is_counted_on_the_first() {
    let mut correlator = Correlator::default();
    let Decision::Create(first) = correlator.step(event("Failed", "no", at(0)), at(0)) else { panic!("created") };
    let Decision::Count(second) = correlator.step(event("Failed", "no", at(9)), at(9)) else { panic!("counted") };
    assert_eq!((second.metadata.name.clone(), second.count), (first.metadata.name.clone(), Some(2)));
    assert_eq!(second.first_timestamp, first.first_timestamp);
    assert_eq!(second.last_timestamp, Some(Time(at(9))));
    assert!(matches!(correlator.step(event("Failed", "other", at(9)), at(9)), Decision::Create(_)));
}

#[test]
fn many_messages_of_one_reason_are_combined() {
    let mut correlator = Correlator::default();
    for n in 0..9 {
        let decision = correlator.step(event("Failed", &format!("message {n}"), at(n)), at(n));
        assert!(matches!(decision, Decision::Create(_)), "{n}");
    }
    let Decision::Create(combined) = correlator.step(event("Failed", "message 9", at(9)), at(9)) else {
        panic!("a combined event is new once")
    };
    assert_eq!(combined.message.as_deref(), Some("(combined from similar events): message 9"));
    let Decision::Count(again) = correlator.step(event("Failed", "message 10", at(10)), at(10)) else {
        panic!("then it is counted")
    };
    assert_eq!(again.message.as_deref(), Some("(combined from similar events): message 10"));
    assert_eq!(again.count, Some(2));
}

#[test]
fn a_source_may_burst_and_then_gets_one_event_in_five_minutes() {
    let mut correlator = Correlator::default();
    let mut step = |seconds: i64| correlator.step(event("Again", "and again", at(seconds)), at(seconds));
    let written = (0..40).filter(|_| step(0) != Decision::Drop).count();
    assert_eq!(written, 25);
    assert_eq!(step(299), Decision::Drop);
    assert_ne!(step(301), Decision::Drop);
    assert_eq!(step(302), Decision::Drop);
}

#[test]
fn memory_is_bounded() {
    let mut correlator = Correlator::default();
    for n in 0..10_000i64 {
        let mut event = event("R", "m", at(n));
        event.involved_object.name = Some(format!("p{n}"));
        correlator.step(event, at(0) + n.seconds());
    }
    assert!(correlator.records() <= 3 * 4096);
}

#[tokio::test]
async fn an_event_of_a_cluster_scoped_object_is_in_default() {
    let (recorder, mut events) = EventRecorder::captured("test");
    let node = k8s_openapi::api::core::v1::Node {
        metadata: ObjectMeta { name: Some("n1".into()), uid: Some("u".into()), ..ObjectMeta::default() },
        ..Default::default()
    };
    recorder.event(&node, EventType::Normal, "NodeReady", "it is");
    let event = events.recv().await.expect("recorded");
    assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    assert_eq!(event.involved_object.kind.as_deref(), Some("Node"));
    assert!(event.metadata.name.expect("named").starts_with("n1."));
}
