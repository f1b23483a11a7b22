//! The leader may die between any two writes, and what comes out is the same: a harness for plans.
//!
//! ```text
//! plan ─▶ write 1 ─▶ write 2 ─▶ write 3 ─▶ others (kubelets, users, time) ─▶ plan ...   until nobody has anything to do
//!                        └ dies: the rest of the round is never done, whoever leads next sees what there is
//! ```
//!
//! A world is played once without an interruption. Then it is played again, with the leader dying after the first write,
//! after the second, and so on to the last; and once with every leader dying, each a write later. Each time the facts must be
//! those of the first play, and the invariant must have held after each write.

use super::{
    fixtures::{noon, seen},
    pods::WholePod,
};
use expect_test::Expect;
use k8s_openapi::{api::core::v1::PodCondition, apimachinery::pkg::apis::meta::v1::Time};
use mk8s_client::pod::Pod;
use std::{collections::BTreeMap, sync::Arc};

/// Rounds after which a world that still changes is said to change for ever.
const ROUNDS: usize = 500;

/// What is written, in words, and what it does. One of it is one request: it is done, or not.
pub(crate) struct Write<W> {
    what: String,
    does: Box<dyn FnOnce(&mut W)>,
}

pub(crate) fn write<W>(what: impl Into<String>, does: impl FnOnce(&mut W) + 'static) -> Write<W> {
    Write { what: what.into(), does: Box::new(does) }
}

/// The objects that a control loop and others work with.
pub(crate) trait World: Clone {
    /// What the control loop would write now, in order.
    fn writes(&self) -> Vec<Write<Self>>;
    /// Others do their part; whether there was anything to do.
    fn others(&mut self) -> bool;
    /// What must hold after each write; why it does not.
    fn holds(&self) -> Result<(), String> {
        Ok(())
    }
    /// What everybody sees, without what happens to be different: made-up names, for one.
    fn facts(&self) -> String;
}

/// What happened in one play.
pub(crate) struct Played<W> {
    pub(crate) world: W,
    /// The writes that were done, a line each.
    pub(crate) story: String,
}

/// Plays until nothing changes. `lives` says how many of a round's writes are done before its leader dies.
pub(crate) fn play<W: World>(mut world: W, mut lives: impl FnMut(usize) -> usize) -> Result<Played<W>, String> {
    let mut story = String::new();
    for _ in 0..ROUNDS {
        let writes = world.writes();
        let planned = writes.len();
        for write in writes.into_iter().take(lives(planned)) {
            story += &format!("{}\n", write.what);
            (write.does)(&mut world);
            world.holds().map_err(|why| format!("{why}, after:\n{story}"))?;
        }
        let others = world.others();
        world.holds().map_err(|why| format!("{why}, after what others did, after:\n{story}"))?;
        if planned == 0 && !others {
            return Ok(Played { world, story });
        }
    }
    Err(format!("there is no end to it:\n{story}"))
}

/// The leader dies after so many writes; the one after it lives.
pub(crate) fn once(mut writes: usize) -> impl FnMut(usize) -> usize {
    move |planned| match writes {
        0 => planned,
        left => {
            let done = left.min(planned);
            writes -= done;
            done
        }
    }
}

/// Plays a world in all ways, and shows the first play and its end.
pub(crate) fn check<W: World>(world: &W, story: &Expect, facts: &Expect) {
    let whole = play(world.clone(), |planned| planned).unwrap_or_else(|why| panic!("{why}"));
    story.assert_eq(&whole.story);
    facts.assert_eq(&whole.world.facts());
    let compare = |how: &str, played: Result<Played<W>, String>| {
        let played = played.unwrap_or_else(|why| panic!("{how}: {why}"));
        assert_eq!(played.world.facts(), whole.world.facts(), "{how}:\n{}", played.story);
    };
    for death in 1..=whole.story.lines().count() {
        compare(&format!("the leader dies after {death} writes"), play(world.clone(), once(death)));
    }
    // Always after the first one, those that begin with something that is done would never come further.
    let mut death = 0;
    let grow = |_| {
        death += 1;
        death
    };
    compare("each leader dies, a write later than the one before", play(world.clone(), grow));
}

/// The pods of a world, and a kubelet for them.
#[derive(Clone, Default)]
pub(crate) struct Pods {
    pub(crate) by_name: BTreeMap<String, Pod>,
    made: usize,
}

impl Pods {
    pub(crate) fn all(&self) -> Vec<Arc<Pod>> {
        self.by_name.values().cloned().map(Arc::new).collect()
    }

    /// As the server does it: a name for those without, a uid; one whose name is taken is refused.
    pub(crate) fn create(&mut self, pod: &WholePod) {
        let mut pod = seen(pod);
        self.made += 1;
        let made_up = || format!("{}{:04}", pod.metadata.generate_name.clone().unwrap_or_default(), self.made);
        let name = pod.metadata.name.clone().unwrap_or_else(made_up);
        pod.metadata.name = Some(name.clone());
        pod.metadata.namespace = Some("n".into());
        pod.metadata.uid = Some(format!("{name}-{}", self.made));
        pod.status.get_or_insert_default().phase = Some("Pending".into());
        self.by_name.entry(name).or_insert(pod);
    }

    /// One with finalizers stays until it has none.
    pub(crate) fn delete(&mut self, name: &str) {
        let Some(pod) = self.by_name.get_mut(name) else { return };
        match pod.metadata.finalizers.as_ref().is_none_or(Vec::is_empty) {
            true => drop(self.by_name.remove(name)),
            false => pod.metadata.deletion_timestamp = Some(Time(noon())),
        }
    }

    /// Starts a pod that waits; whether it did.
    pub(crate) fn start(&mut self, name: &str) -> bool {
        let Some(pod) = self.by_name.get_mut(name) else { return false };
        let status = pod.status.get_or_insert_default();
        let waits = status.phase.as_deref() == Some("Pending");
        if waits {
            status.phase = Some("Running".into());
            status.conditions = Some(vec![PodCondition {
                type_: "Ready".into(),
                status: "True".into(),
                last_transition_time: Some(Time(noon())),
                ..PodCondition::default()
            }]);
        }
        waits
    }

    /// Starts all that wait; whether there were any.
    pub(crate) fn start_all(&mut self) -> bool {
        let names: Vec<String> = self.by_name.keys().cloned().collect();
        names.iter().fold(false, |any, name| self.start(name) | any)
    }
}
