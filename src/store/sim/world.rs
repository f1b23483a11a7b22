//! The world of a seed: machines, a network, a clock, clients, and what goes wrong.

use super::{
    Plant,
    client::{Client, Manner},
    history::{History, Violation},
    node::Node,
    random::Random,
};
use crate::{
    MemberChange,
    raft::{Assembly, Effects, Pieces, Show, decode_message, encode_message},
};
use raft::eraftpb::Message;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};
use tokio::sync::oneshot;

/// How long things go wrong, in microseconds.
const TROUBLE_US: u64 = 5_000_000;

/// How long it may take until all is well again after that.
const PEACE_US: u64 = 30_000_000;

/// How much happened in a world.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) events: u64,
    /// Writes, conflicts and reads that were answered.
    pub(super) answered: u64,
    pub(super) elections: u64,
    pub(super) snapshots: u64,
    pub(super) checkpoints: u64,
    pub(super) crashes: u64,
    pub(super) member_changes: u64,
    pub(super) full_disks: u64,
    /// How often a witness led for a moment.
    pub(super) witness_led: u64,
}

enum Happens {
    Tick { node: u64, life: u64 },
    Arrives { to: u64, message: Box<Message>, pieces: Option<Vec<Vec<u8>>> },
    SnapshotSent { node: u64, life: u64, to: u64, arrived: bool },
    Unreachable { node: u64, life: u64, peer: u64 },
    Synced { node: u64, life: u64 },
    CheckpointEnds { node: u64, life: u64 },
    Client(usize),
    Start { node: u64 },
    Trouble,
    LinesHeal,
    PowerGoes { node: u64, lasts: u64 },
    DiskHeals { node: u64 },
}

/// See the module.
pub(super) struct World {
    chance: Random,
    now: u64,
    next: u64,
    queue: BTreeMap<(u64, u64), Happens>,
    nodes: BTreeMap<u64, Node>,
    /// Lines that lose everything, from and to.
    cut: BTreeSet<(u64, u64)>,
    clients: Vec<Client>,
    history: History,
    /// In a thousand.
    lost: u64,
    doubled: u64,
    delayed: u64,
    troubled: bool,
    /// Machines that were never started, to join.
    spare: Vec<u64>,
    change: Option<(oneshot::Receiver<Result<(), crate::CommitError>>, MemberChange)>,
    plant: Option<Plant>,
    tally: Tally,
    last_leader: Option<u64>,
    /// A machine with data does not come back at the end; members stay the same then.
    loses_one: bool,
    lost_for_good: Option<u64>,
}

/// The machine that is a witness where there is one among three founders,
const WITNESS: u64 = 3;
/// or where one joins them: the first of those that do.
const JOINING_WITNESS: u64 = 5;

impl World {
    pub(super) fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut chance = Random::new(seed);
        let count = if chance.happens(700) { 3 } else { 5 };
        let founders: Vec<u64> = (1..=count).collect();
        let mut nodes: BTreeMap<u64, Node> =
            founders.iter().map(|id| (*id, Node::new(*id, founders.clone(), plant))).collect();
        let spare: Vec<u64> = (count + 1..=count + 2).collect();
        nodes.extend(spare.iter().map(|id| (*id, Node::new(*id, Vec::new(), plant))));
        let has_witness = count == 3 && chance.happens(500);
        let loses_one = has_witness && chance.happens(400);
        if has_witness {
            let witness = if loses_one || chance.happens(600) { WITNESS } else { JOINING_WITNESS };
            for node in nodes.values_mut() {
                (node.witness, node.keeps_all) = (Some(witness), loses_one);
            }
        }
        let (lost, doubled, delayed) = match chance.between(0, 2) {
            0 => (0, 0, 0),
            1 => (20, 20, 20),
            _ => (chance.between(0, 150), chance.between(0, 100), chance.between(0, 100)),
        };
        let clients = (0..chance.between(2, 4)).map(|_| Client::default()).collect();
        let mut world = Self {
            chance,
            now: 0,
            next: 0,
            queue: BTreeMap::new(),
            nodes,
            cut: BTreeSet::new(),
            clients,
            history: History::default(),
            lost,
            doubled,
            delayed,
            troubled: true,
            spare,
            change: None,
            plant,
            tally: Tally::default(),
            last_leader: None,
            loses_one,
            lost_for_good: None,
        };
        for node in founders {
            world.after(0, Happens::Start { node });
        }
        for client in 0..world.clients.len() {
            world.after(1_000_000, Happens::Client(client));
        }
        world.after(1_200_000, Happens::Trouble);
        world
    }

    /// Plays it all; says how much happened.
    pub(super) fn play(mut self) -> Result<Tally, Violation> {
        let wrong = |error: io::Error| format!("a replica gave up: {error}");
        while self.now < TROUBLE_US {
            self.step().map_err(wrong)??;
        }
        self.notice_change();
        self.make_peace().map_err(wrong)?;
        let until = self.now + PEACE_US;
        loop {
            for _ in 0..50 {
                self.step().map_err(wrong)??;
            }
            if self.is_settled() {
                break;
            }
            if self.now > until {
                return Err(format!(
                    "nothing is well after {} seconds of peace: {}",
                    PEACE_US / 1_000_000,
                    self.state()
                ));
            }
        }
        for node in self.members().into_iter().filter(|node| !self.nodes[node].is_witness()) {
            if let Some(replica) = &self.nodes[&node].replica {
                self.history.is(&replica.view()).map_err(|wrong| format!("replica {node}: {wrong}"))?;
            }
        }
        self.history.check()?;
        Ok(Tally { events: self.next, answered: self.history.answered(), ..self.tally })
    }

    fn after(&mut self, us: u64, what: Happens) {
        self.next += 1;
        self.queue.insert((self.now + us, self.next), what);
    }

    /// The next thing that happens. The outer error is a replica's, which is a violation as well.
    fn step(&mut self) -> io::Result<Result<(), Violation>> {
        let Some(((at, _), what)) = self.queue.pop_first() else { return Ok(Err("nothing happens".to_owned())) };
        self.now = at;
        let touched = self.happen(what)?;
        match touched {
            Some(node) => self.carry_out(node),
            None => Ok(Ok(())),
        }
    }

    /// The machine, if it is on in the life that something is meant for and not paused; otherwise it waits.
    fn awake(&mut self, node: u64, life: Option<u64>) -> Option<&mut Node> {
        let machine = self.nodes.get_mut(&node)?;
        (machine.replica.is_some() && life.is_none_or(|life| life == machine.life)).then_some(machine)
    }

    fn is_paused(&self, node: u64) -> Option<u64> {
        self.nodes.get(&node).map(|node| node.paused_until).filter(|until| *until > self.now)
    }

    fn happen(&mut self, what: Happens) -> io::Result<Option<u64>> {
        if let Some(until) = what.node().and_then(|node| self.is_paused(node)) {
            let wait = until - self.now;
            self.after(wait, what);
            return Ok(None);
        }
        match what {
            Happens::Tick { node, life } => {
                let Some(machine) = self.awake(node, Some(life)) else { return Ok(None) };
                let tick = machine.tick_us;
                machine.replica.as_mut().expect("awake").tick()?;
                self.after(tick, Happens::Tick { node, life });
                Ok(Some(node))
            }
            Happens::Arrives { to, message, pieces } => {
                let whole = pieces.map(|pieces| {
                    let mut assembly = Assembly::default();
                    pieces.iter().try_for_each(|piece| assembly.add(piece))?;
                    assembly.finish()
                });
                let whole = whole.transpose()?;
                let Some(machine) = self.awake(to, None) else { return Ok(None) };
                machine.replica.as_mut().expect("awake").receive(*message, whole)?;
                Ok(Some(to))
            }
            Happens::SnapshotSent { node, life, to, arrived } => {
                let Some(machine) = self.awake(node, Some(life)) else { return Ok(None) };
                machine.replica.as_mut().expect("awake").snapshot_sent(to, arrived)?;
                Ok(Some(node))
            }
            Happens::Unreachable { node, life, peer } => {
                let Some(machine) = self.awake(node, Some(life)) else { return Ok(None) };
                machine.replica.as_mut().expect("awake").unreachable(peer)?;
                Ok(Some(node))
            }
            Happens::Synced { node, life } => {
                let mut chance = self.chance.clone();
                let Some(machine) = self.awake(node, Some(life)) else { return Ok(None) };
                let more = machine.synced(&mut chance)?;
                let takes = machine.disk_takes_us(&mut chance);
                self.chance = chance;
                if more {
                    self.after(takes, Happens::Synced { node, life });
                }
                Ok(Some(node))
            }
            Happens::CheckpointEnds { node, life } => {
                let Some(machine) = self.awake(node, Some(life)) else { return Ok(None) };
                machine.checkpoint_ended()?;
                Ok(Some(node))
            }
            Happens::Client(client) => self.client_asks(client),
            Happens::Start { node } => {
                if self.nodes[&node].replica.is_some() || self.lost_for_good == Some(node) {
                    return Ok(None);
                }
                let machine = self.nodes.get_mut(&node).expect("it is one of ours");
                machine.start(&mut self.chance)?;
                let (life, tick) = (machine.life, machine.tick_us);
                let first = self.chance.between(0, tick);
                self.after(first, Happens::Tick { node, life });
                Ok(Some(node))
            }
            Happens::Trouble => {
                if self.troubled {
                    self.trouble()?;
                    let often = self.plant == Some(Plant::ForgottenVote);
                    let most = if often { 150_000 } else { 700_000 };
                    let next = self.chance.between(50_000.min(most / 3), most);
                    self.after(next, Happens::Trouble);
                }
                Ok(None)
            }
            Happens::PowerGoes { node, lasts } => {
                if self.troubled {
                    self.crash(node, lasts);
                }
                Ok(None)
            }
            Happens::LinesHeal => {
                self.cut.clear();
                Ok(None)
            }
            Happens::DiskHeals { node } => {
                let machine = self.nodes.get_mut(&node).expect("it is one of ours");
                (machine.slow_disk, machine.full_disk) = (false, false);
                Ok(None)
            }
        }
    }

    /// What a replica wants done after something happened to it.
    fn carry_out(&mut self, id: u64) -> io::Result<Result<(), Violation>> {
        loop {
            let node = self.nodes.get_mut(&id).expect("it is one of ours");
            let (effects, disk_begins) = node.effects()?;
            let (life, mut chance) = (node.life, self.chance.clone());
            let takes = node.disk_takes_us(&mut chance);
            let checkpoint = node.checkpoint_begins();
            self.chance = chance;
            if disk_begins {
                self.after(takes, Happens::Synced { node: id, life });
            }
            if checkpoint {
                self.tally.checkpoints += 1;
                let takes = self.chance.between(100, 300_000);
                self.after(takes, Happens::CheckpointEnds { node: id, life });
            }
            let Effects { messages, writes: _, shows, answers } = effects;
            if messages.is_empty() && shows.is_empty() && answers.is_empty() && !disk_begins {
                break;
            }
            for outgoing in messages {
                self.send(id, life, outgoing.message, outgoing.keyspace.map(|view| Pieces::of_size(view, 60)));
            }
            if let Err(violation) = self.show(id, shows) {
                return Ok(Err(violation));
            }
            answers.into_iter().for_each(crate::raft::Settled::tell);
        }
        let leads = self.nodes[&id].replica.as_ref().is_some_and(crate::raft::Replica::leads);
        if leads && self.last_leader != Some(id) {
            self.last_leader = Some(id);
            self.tally.elections += 1;
            self.tally.witness_led += u64::from(self.nodes[&id].is_witness());
        }
        for client in 0..self.clients.len() {
            if self.clients[client].waits_for(id) && self.clients[client].look(self.now, &mut self.history) {
                let thinks = self.chance.between(500, 60_000);
                self.after(thinks, Happens::Client(client));
            }
        }
        Ok(Ok(()))
    }

    fn show(&mut self, id: u64, shows: Vec<Show>) -> Result<(), Violation> {
        let node = self.nodes.get_mut(&id).expect("it is one of ours");
        for show in shows {
            match show {
                Show::Events { view, events } => {
                    self.history.shows(id, node.shown, &events)?;
                    node.shown = view.revision();
                }
                Show::Restart(view) => {
                    self.tally.snapshots += 1;
                    self.history.is_at(id, &view)?;
                    node.shown = view.revision();
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, from: u64, life: u64, message: Message, pieces: Option<Pieces>) {
        let to = message.to;
        let is_snapshot = pieces.is_some();
        let pieces: Option<Vec<Vec<u8>>> = pieces.map(Iterator::collect);
        let lost = self.cut.contains(&(from, to)) || self.chance.happens(self.lost);
        if lost {
            if is_snapshot {
                let after = self.chance.between(1000, 500_000);
                self.after(after, Happens::SnapshotSent { node: from, life, to, arrived: false });
            } else if self.chance.happens(100) {
                self.after(1000, Happens::Unreachable { node: from, life, peer: to });
            }
            return;
        }
        let copies = if self.chance.happens(self.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let takes = if self.chance.happens(self.delayed) {
                self.chance.between(3000, 1_500_000)
            } else {
                self.chance.between(100, 3000)
            };
            // Now and then through the form that it has on a line.
            let message = match self.chance.happens(50) {
                true => decode_message(&encode_message(&message)).expect("it was just encoded"),
                false => message.clone(),
            };
            self.after(takes, Happens::Arrives { to, message: Box::new(message), pieces: pieces.clone() });
            if is_snapshot {
                self.after(takes + 500, Happens::SnapshotSent { node: from, life, to, arrived: true });
            }
        }
    }

    fn client_asks(&mut self, at: usize) -> io::Result<Option<u64>> {
        if !self.clients[at].is_idle() {
            if self.clients[at].look(self.now, &mut self.history) {
                self.after(1000, Happens::Client(at));
            }
            return Ok(None);
        }
        let asked = self.nodes.values().filter(|node| node.replica.is_some() && !node.is_witness());
        let awake: Vec<u64> = asked.map(|node| node.id).collect();
        let Some(node) = self.chance.pick(&awake).copied() else {
            self.after(20_000, Happens::Client(at));
            return Ok(None);
        };
        let manner = Manner { stale: self.plant == Some(Plant::StaleRead), full: self.nodes[&node].full_disk };
        let replica = self.nodes.get_mut(&node).and_then(|node| node.replica.as_mut()).expect("it is awake");
        self.clients[at].ask(self.now, node, replica, manner, &mut self.history, &mut self.chance)?;
        // It gives up then, if nothing comes before.
        self.after(2_600_000, Happens::Client(at));
        Ok(Some(node))
    }

    fn trouble(&mut self) -> io::Result<()> {
        let ids: Vec<u64> = self.members();
        let Some(node) = self.chance.pick(&ids).copied() else { return Ok(()) };
        let lasts = self.chance.between(20_000, 1_500_000);
        if self.plant == Some(Plant::ForgottenVote) && self.chance.happens(700) {
            // A vote counts for a moment only: many must be forgotten soon after.
            self.crash(node, lasts / 30);
            return Ok(());
        }
        let kinds = if self.nodes[&node].witness.is_some() { 15 } else { 13 };
        match self.chance.between(0, kinds) {
            0..=2 => self.crash(node, lasts),
            3 => {
                // The power of the whole house.
                for node in ids {
                    self.crash(node, lasts);
                }
            }
            4 => {
                if let Some(leader) = self.leader() {
                    self.crash(leader, lasts);
                }
            }
            5 => {
                let others: Vec<u64> = self.nodes.keys().copied().filter(|id| *id != node).collect();
                self.cut.extend(others.iter().flat_map(|other| [(node, *other), (*other, node)]));
                self.after(lasts, Happens::LinesHeal);
            }
            6 => {
                // One way only.
                let others: Vec<u64> = self.nodes.keys().copied().filter(|id| *id != node).collect();
                let out = self.chance.happens(500);
                self.cut.extend(others.iter().map(|other| if out { (node, *other) } else { (*other, node) }));
                self.after(lasts, Happens::LinesHeal);
            }
            7 => {
                let lines: Vec<(u64, u64)> = ids.iter().flat_map(|a| ids.iter().map(|b| (*a, *b))).collect();
                let cut: Vec<_> = lines.into_iter().filter(|_| self.chance.happens(300)).collect();
                self.cut.extend(cut);
                self.after(lasts, Happens::LinesHeal);
            }
            8 => {
                let full = self.chance.happens(400);
                let machine = self.nodes.get_mut(&node).expect("it is one of ours");
                if full {
                    machine.full_disk = true;
                    self.tally.full_disks += 1;
                } else {
                    machine.slow_disk = true;
                }
                self.after(lasts, Happens::DiskHeals { node });
            }
            9 => {
                let until = self.now + lasts;
                self.nodes.get_mut(&node).expect("it is one of ours").paused_until = until;
            }
            10 => {
                if let Some(leader) = self.leader()
                    && let Some(replica) = &mut self.nodes.get_mut(&leader).expect("it is one of ours").replica
                {
                    replica.transfer(node)?;
                    drop(self.carry_out(leader)?);
                }
            }
            11..=13 => self.change_members(node)?,
            _ => {
                // A witness alone hears the last words of a leader.
                if let Some(leader) = self.leader() {
                    let others = self.nodes.values().filter(|node| !node.is_witness()).map(|node| (leader, node.id));
                    self.cut.extend(others);
                    self.after(lasts, Happens::LinesHeal);
                    let speaks = self.chance.between(1000, 400_000);
                    self.after(speaks, Happens::PowerGoes { node: leader, lasts });
                }
            }
        }
        Ok(())
    }

    fn crash(&mut self, node: u64, lasts: u64) {
        let machine = self.nodes.get_mut(&node).expect("it is one of ours");
        if machine.replica.is_some() {
            machine.crash(&mut self.chance);
            self.tally.crashes += 1;
            self.after(lasts, Happens::Start { node });
        }
    }

    fn change_members(&mut self, node: u64) -> io::Result<()> {
        self.notice_change();
        if self.change.is_some() || self.loses_one {
            return Ok(());
        }
        let Some(leader) = self.leader() else { return Ok(()) };
        let change = match self.spare.last().copied() {
            Some(id) if self.chance.happens(600) => {
                self.spare.pop();
                self.after(self.now % 100_000, Happens::Start { node: id });
                MemberChange::AddLearner(id)
            }
            _ => MemberChange::Remove(node),
        };
        let asked = if self.chance.happens(500) { leader } else { node };
        let Some(replica) = &mut self.nodes.get_mut(&asked).expect("it is one of ours").replica else { return Ok(()) };
        let voters = replica.members().iter().filter(|member| member.voter).count();
        if matches!(change, MemberChange::Remove(_)) && voters < 3 {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        replica.change_member(change, answer)?;
        self.change = Some((answered, change));
        drop(self.carry_out(asked)?);
        Ok(())
    }

    fn notice_change(&mut self) {
        let Some((answered, _)) = &mut self.change else { return };
        match answered.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => return,
            Ok(Ok(())) => self.tally.member_changes += 1,
            Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => {}
        }
        self.change = None;
    }

    /// The leader of the newest term.
    fn leader(&self) -> Option<u64> {
        let leaders = self.nodes.values().filter_map(|node| {
            let replica = node.replica.as_ref()?;
            replica.leads().then(|| (replica.leadership().term, node.id))
        });
        leaders.max().map(|(_, id)| id)
    }

    /// Those who take part, as the leader knows it.
    fn members(&self) -> Vec<u64> {
        let known = self.leader().and_then(|leader| self.nodes[&leader].replica.as_ref());
        match known {
            Some(replica) => replica.members().iter().map(|member| member.id).collect(),
            None => self.nodes.values().filter(|node| node.life > 0).map(|node| node.id).collect(),
        }
    }

    fn make_peace(&mut self) -> io::Result<()> {
        self.troubled = false;
        self.cut.clear();
        (self.lost, self.doubled, self.delayed) = (0, 0, 0);
        if self.loses_one {
            let with_data: Vec<u64> = (1..WITNESS).collect();
            let lost = self.chance.pick(&with_data).copied();
            self.lost_for_good = lost;
            lost.iter().for_each(|lost| self.crash(*lost, 0));
        }
        let started: Vec<u64> = self.nodes.values().filter(|node| node.life > 0).map(|node| node.id).collect();
        for node in started {
            let machine = self.nodes.get_mut(&node).expect("it is one of ours");
            (machine.slow_disk, machine.full_disk, machine.paused_until) = (false, false, 0);
            self.after(0, Happens::Start { node });
        }
        Ok(())
    }

    /// Every member has everything, all of them vote, and one that can serve leads.
    fn is_settled(&self) -> bool {
        let Some(leader) = self.leader().and_then(|leader| self.nodes[&leader].replica.as_ref()) else { return false };
        let newest = self.history.newest();
        let has_all = |id: u64| {
            let view = self.nodes[&id].replica.as_ref().map(crate::raft::Replica::view);
            self.nodes[&id].is_witness() || view.is_some_and(|view| view.revision() == newest)
        };
        let settled = |member: &crate::MemberStatus| member.voter && member.behind == Some(0) && has_all(member.id);
        let members = leader.members();
        let mut there = members.iter().filter(|member| self.lost_for_good != Some(member.id));
        leader.leadership().here && there.all(settled)
    }

    fn state(&self) -> String {
        let replicas = self.nodes.values().filter_map(|node| {
            let replica = node.replica.as_ref()?;
            Some(format!(
                "{}: {:?} at {}, {:?}",
                node.id,
                replica.leadership(),
                replica.view().revision(),
                replica.members()
            ))
        });
        replicas.collect::<Vec<_>>().join("; ")
    }
}

impl Happens {
    /// The machine that this needs to be awake.
    fn node(&self) -> Option<u64> {
        match self {
            Happens::Tick { node, .. }
            | Happens::SnapshotSent { node, .. }
            | Happens::Unreachable { node, .. }
            | Happens::Synced { node, .. }
            | Happens::CheckpointEnds { node, .. } => Some(*node),
            Happens::Arrives { to, .. } => Some(*to),
            Happens::Client(_)
            | Happens::Start { .. }
            | Happens::Trouble
            | Happens::LinesHeal
            | Happens::PowerGoes { .. }
            | Happens::DiskHeals { .. } => None,
        }
    }
}
