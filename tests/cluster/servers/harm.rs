//! What befalls a server, and how that ends.

use super::Server;
use nix::sys::signal::Signal;
use std::{fs::File, io, process::Command, time::Duration};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Kill,
    /// It is stopped for longer than an election takes, and then goes on.
    Pause,
    /// Nothing goes between it and the others; its clients reach it.
    Cut,
    /// It hears nothing of the others, who hear it.
    Deafen,
    /// The others hear nothing of it.
    Mute,
    /// Something else takes all that is left of its disk.
    Fill,
}

/// To whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    Leader,
    Follower,
    Witness,
}

pub(super) type Harm = (Fault, Whom);

/// How long a harm lasts beyond the first write that is taken.
const LASTS: Duration = Duration::from_secs(2);

/// What the disks of servers hold that are filled.
const DISK: &str = "size=800m";

impl Fault {
    /// Whether it answers nobody meanwhile.
    pub(super) fn silences(self) -> bool {
        matches!(self, Fault::Kill | Fault::Pause)
    }
}

/// Gives a server that was never started a small disk of its own.
pub(super) fn small_disk(server: &Server<'_>) {
    std::fs::create_dir_all(server.data_dir()).expect("the data directory");
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(server.data_dir()).status();
    assert!(status.is_ok_and(|status| status.success()), "a file system in memory can be mounted");
}

/// Does it.
pub(super) fn begin(fault: Fault, victim: &Server<'_>) {
    match fault {
        Fault::Kill => victim.kill(),
        Fault::Pause => victim.signal(Signal::SIGSTOP),
        Fault::Cut => drop_packets(victim, &["input iifname", "output oifname"]),
        Fault::Deafen => drop_packets(victim, &["input iifname"]),
        Fault::Mute => drop_packets(victim, &["output oifname"]),
        Fault::Fill => {
            let mut file = File::create(filler(victim)).expect("a file");
            let full = io::copy(&mut io::repeat(0), &mut file).expect_err("a disk has an end");
            assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        }
    }
}

/// Ends it, when it has lasted long enough.
pub(super) fn end(fault: Fault, victim: &Server<'_>) {
    if fault != Fault::Kill {
        std::thread::sleep(LASTS);
    }
    match fault {
        Fault::Kill => victim.run(),
        Fault::Pause => victim.signal(Signal::SIGCONT),
        Fault::Cut | Fault::Deafen | Fault::Mute => drop(victim.host.inside("nft", &["delete table inet harm"])),
        Fault::Fill => std::fs::remove_file(filler(victim)).expect("it is there"),
    }
}

fn filler(server: &Server<'_>) -> std::path::PathBuf {
    server.data_dir().join("filler")
}

/// Drops what goes over the network of the servers; clients come another way.
fn drop_packets(server: &Server<'_>, hooks: &[&str]) {
    let mut rules = "add table inet harm;".to_owned();
    for hook in hooks {
        let (chain, interface) = hook.split_once(' ').expect("two words");
        rules += &format!("add chain inet harm {chain} {{ type filter hook {chain} priority -300; }};");
        rules += &format!("add rule inet harm {chain} {interface} {{ lan, lan0 }} drop;");
    }
    server.host.inside("nft", &[&rules]);
}
