//! Leaders one after the other: whole controllers against a server in memory, each dying after some write.
//!
//! ```text
//! leader ─▶ write 1 ─▶ write 2 ─┐ dies before it hears of its success
//!                               └▶ the next leader, who knows nothing but what the server has ─▶ write 3 ...
//! others (kubelets, users, the scheduler) do their part whenever a leader has nothing to do
//! ```
//!
//! Unlike [`super::interruption`], which plays plans, this plays what a leader really sends. Time is the runtime's own and
//! passes when nobody has anything to do; what controllers read from the clock stands almost still.

use super::{Context, fake::FakeApi};
use crate::{Options, inventory::Inventory};
use expect_test::Expect;
use futures::future::BoxFuture;
use mk8s_client::{EventRecorder, Informers};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// After so long without anything becoming different a leader is said to have nothing to do.
const QUIET: Duration = Duration::from_secs(60);

/// Rounds after which a play that still goes on is said to go on for ever.
const ROUNDS: usize = 100;

/// What a play begins with, and who takes part.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) objects: String,
    pub(crate) options: Options,
    pub(crate) leader: fn(Context) -> BoxFuture<'static, ()>,
    /// Others do their part; whether there was anything to do. Given the number of times that they were asked before.
    pub(crate) others: fn(&FakeApi, usize) -> bool,
    /// What must hold whenever a leader pauses or has died; why it does not.
    pub(crate) holds: fn(&FakeApi) -> Result<(), String>,
    /// What everybody sees in the end, without made-up names and times.
    pub(crate) facts: fn(&FakeApi) -> String,
}

impl Scene {
    pub(crate) fn new(leader: fn(Context) -> BoxFuture<'static, ()>, objects: impl Into<String>) -> Scene {
        Scene {
            objects: objects.into(),
            options: Options::default(),
            leader,
            others: |_, _| false,
            holds: |_| Ok(()),
            facts: FakeApi::census,
        }
    }
}

/// A controller that needs the inventory, with one of its own.
pub(crate) async fn with_inventory<F: Future<Output = ()>>(ctx: Context, controller: fn(Context, Inventory) -> F) {
    let inventory = Inventory::new(ctx.client.clone());
    // It listens before the inventory runs.
    let controller = controller(ctx.clone(), inventory.clone());
    tokio::join!(controller, inventory.run(ctx));
}

/// Plays until nobody has anything to do; each leader lives as many writes as `lives` says.
pub(crate) fn play(scene: &Scene, lives: impl FnMut() -> usize) -> Result<FakeApi, String> {
    let clock = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    clock.expect("a runtime").block_on(play_on(scene, lives))
}

async fn play_on(scene: &Scene, mut lives: impl FnMut() -> usize) -> Result<FakeApi, String> {
    let api = FakeApi::new(&scene.objects);
    let told = |why: &str| {
        let story = api.story();
        let end = story.len().saturating_sub(40);
        format!("{why}, after {end} other writes:\n{}", lines(&story[end..]))
    };
    let mut asked = 0;
    for _ in 0..ROUNDS {
        let (client, life) = api.connect(lives());
        let stop = CancellationToken::new();
        let ctx = Context {
            informers: Informers::new(client.clone(), stop.clone()),
            events: EventRecorder::new(client.clone(), "controllers", None, stop.clone()),
            client,
            options: Arc::new(scene.options.clone()),
            stop: stop.clone(),
        };
        let leader = tokio::spawn((scene.leader)(ctx));
        let mut over = false;
        while !over {
            let version = api.version();
            let died = tokio::time::timeout(QUIET, life.over()).await.is_ok();
            if api.is_overrun() {
                return Err(told("there is no end to it"));
            }
            (scene.holds)(&api).map_err(|why| told(&why))?;
            if died {
                break;
            }
            if api.version() == version {
                over = !(scene.others)(&api, asked);
                asked += 1;
            }
        }
        stop.cancel();
        leader.abort();
        if over {
            return Ok(api);
        }
    }
    Err(told("leader after leader, and no end to it"))
}

/// Plays a scene with a leader that lives, then with one that dies after its first write, its second, and so on to the
/// last, then with leaders that all die, each a write later than the one before: the facts are always the same.
pub(crate) fn check(scene: &Scene, story: &Expect, facts: &Expect) {
    let whole = play(scene, || usize::MAX).unwrap_or_else(|why| panic!("{why}"));
    story.assert_eq(&lines(&whole.story()));
    compare(scene, &whole, facts);
}

/// The same where many things are written at once, in no order.
pub(crate) fn check_facts(scene: &Scene, facts: &Expect) {
    let whole = play(scene, || usize::MAX).unwrap_or_else(|why| panic!("{why}"));
    compare(scene, &whole, facts);
}

fn lines(story: &[String]) -> String {
    story.iter().map(|line| format!("{line}\n")).collect()
}

fn compare(scene: &Scene, whole: &FakeApi, facts: &Expect) {
    facts.assert_eq(&(scene.facts)(whole));
    let same = |how: &str, played: Result<FakeApi, String>| {
        let played = played.unwrap_or_else(|why| panic!("{how}: {why}"));
        assert_eq!((scene.facts)(&played), (scene.facts)(whole), "{how}:\n{}", lines(&played.story()));
    };
    for death in 1..=whole.story().len() {
        let mut lives = [death].into_iter();
        same(&format!("a leader dies after {death} writes"), play(scene, || lives.next().unwrap_or(usize::MAX)));
    }
    let mut lives = 1..;
    same("each leader dies, a write later than the one before", play(scene, || lives.next().unwrap_or(usize::MAX)));
}
