//! Several replicas in a world of chance: messages are lost, doubled, delayed and overtake each other, lines work one
//! way only, machines stop and start, power cuts take what was not synced or tear it, disks are slow or full, members come
//! and go, one may be a witness, and then a machine with data may be lost for good. One seed is one world; it is the same each
//! time it is played.
//!
//! Reading order: [`world`] (what happens), [`node`] (a machine and its disk), [`client`], [`history`] (what must hold).
//!
//! `MK8S_SIM_SEEDS` is how many seeds are played, `MK8S_SIM_SEED` plays one.

mod client;
mod history;
mod node;
mod random;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use world::{Tally, World};

/// Bugs that are planted, to see that they are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    /// A write counts as durable before it is.
    AcknowledgedUnsynced,
    /// A read shows what is here, not what was acknowledged anywhere.
    StaleRead,
    /// For whom it voted is not written down.
    ForgottenVote,
    /// A witness cuts what not everyone has.
    CutsEarly,
}

/// Plays a world; says how much happened in it.
fn play(seed: u64, plant: Option<Plant>) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| World::new(seed, plant).play())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Plays seeds on all processors until one of them is wrong.
fn first_wrong(seeds: std::ops::Range<u64>, plant: Option<Plant>) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Relaxed);
                if seed >= seeds.end {
                    return None;
                }
                if let Err(wrong) = play(seed, plant) {
                    next.store(seeds.end, Relaxed);
                    return Some((seed, wrong));
                }
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("a panic is caught in its seed")).min()
    })
}

#[test]
fn whatever_goes_wrong_nothing_acknowledged_is_lost_and_all_see_the_same() {
    let seeds = match number("MK8S_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MK8S_SIM_SEEDS").unwrap_or(2000),
    };
    if let Some((seed, wrong)) = first_wrong(seeds, None) {
        panic!("{wrong}\nagain: MK8S_SIM_SEED={seed} cargo test -p mk8s-store --lib sim::whatever");
    }
}

#[test]
fn a_seed_is_the_same_each_time() {
    for seed in 0..5 {
        assert_eq!(play(seed, None), play(seed, None), "seed {seed}");
    }
}

#[test]
fn in_these_worlds_things_do_happen() {
    let worlds = 60;
    let mut sum = Tally::default();
    for seed in 0..worlds {
        let tally = play(seed, None).expect("nothing goes wrong");
        sum.answered += tally.answered;
        sum.elections += tally.elections;
        sum.snapshots += tally.snapshots;
        sum.checkpoints += tally.checkpoints;
        sum.crashes += tally.crashes;
        sum.member_changes += tally.member_changes;
        sum.full_disks += tally.full_disks;
        sum.witness_led += tally.witness_led;
    }
    let enough = sum.answered > 20 * worlds
        && sum.elections > 2 * worlds
        && sum.snapshots > worlds / 2
        && sum.checkpoints > 2 * worlds
        && sum.crashes > 2 * worlds
        && sum.member_changes > worlds / 4
        && sum.full_disks > worlds / 10
        && sum.witness_led > worlds / 10;
    assert!(enough, "in {worlds} worlds: {sum:?}");
}

#[test]
fn planted_bugs_are_found() {
    for plant in [Plant::AcknowledgedUnsynced, Plant::StaleRead, Plant::ForgottenVote, Plant::CutsEarly] {
        assert!(first_wrong(0..20_000, Some(plant)).is_some(), "{plant:?} was not found");
    }
}
