//! Who has which address: one small file per address in `<dataDir>/<network>/`, so that reservations outlive restarts of
//! anything but the disk. The file also holds what else a DEL must undo.
//!
//! The directory is locked as long as a [`Book`] is open. Files appear by rename, so a killed plugin leaves none half
//! written; one that a power cut emptied belongs to a pod that the same power cut ended, and counts as free.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::conf::PortMapping;
use super::error::{CniError, Code};

/// What an address is used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reservation {
    pub container: String,
    pub ifname: String,
    /// The link's name on the node.
    pub host_link: String,
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
}

/// The locked book of a network's addresses.
#[derive(Debug)]
pub(super) struct Book {
    dir: PathBuf,
    entries: Vec<(Ipv4Addr, Reservation)>,
    _lock: Flock<File>,
}

impl Book {
    /// Opens and locks the book, waiting for whoever has it open.
    pub(super) fn open(data_dir: &Path, network: &str) -> Result<Self, CniError> {
        let dir = data_dir.join(network);
        fs::create_dir_all(&dir).map_err(|error| io_error("create", &dir, &error))?;
        let lock_path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| io_error("open", &lock_path, &error))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| io_error("lock", &lock_path, &errno.into()))?;
        let entries = read_entries(&dir)?;
        Ok(Self { dir, entries, _lock: lock })
    }

    pub(super) fn entries(&self) -> &[(Ipv4Addr, Reservation)] {
        &self.entries
    }

    pub(super) fn find(&self, container: &str, ifname: &str) -> Option<&(Ipv4Addr, Reservation)> {
        self.entries.iter().find(|(_, entry)| entry.container == container && entry.ifname == ifname)
    }

    /// Reserves an address of `net`: the one the attachment has already, or the next free one after the last given out (a
    /// released address rests as long as possible).
    pub(super) fn reserve(&mut self, net: Ipv4Net, reservation: Reservation) -> Result<Ipv4Addr, CniError> {
        let address = match self.find(&reservation.container, &reservation.ifname) {
            Some((address, _)) if net.contains(address) => *address,
            _ => self.next_free(net)?,
        };
        self.release(&reservation.container, &reservation.ifname)?;
        let path = self.dir.join(address.to_string());
        let bytes = serde_json::to_vec(&reservation).expect("a reservation has only string keys");
        write_file(&path, &bytes)?;
        write_file(&self.dir.join("last"), address.to_string().as_bytes())?;
        self.entries.push((address, reservation));
        Ok(address)
    }

    /// Frees the attachment's addresses and returns what they were used for.
    pub(super) fn release(&mut self, container: &str, ifname: &str) -> Result<Option<Reservation>, CniError> {
        let mut released = None;
        while let Some(at) =
            self.entries.iter().position(|(_, entry)| entry.container == container && entry.ifname == ifname)
        {
            let path = self.dir.join(self.entries[at].0.to_string());
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", &path, &error)),
                _ => {}
            }
            released = Some(self.entries.swap_remove(at).1);
        }
        Ok(released)
    }

    fn next_free(&self, net: Ipv4Net) -> Result<Ipv4Addr, CniError> {
        let last = fs::read_to_string(self.dir.join("last")).ok().and_then(|text| text.trim().parse().ok());
        let taken = |address| self.entries.iter().any(|(entry, _)| *entry == address);
        candidates(net, last).find(|address| !taken(*address)).ok_or_else(|| {
            CniError::new(Code::TryAgainLater, format!("no free address in {net}: {} in use", self.entries.len()))
        })
    }
}

/// The addresses of `net` that pods may have, starting after `last`: not the network's, the gateway's or the broadcast.
fn candidates(net: Ipv4Net, last: Option<Ipv4Addr>) -> impl Iterator<Item = Ipv4Addr> {
    let first = u32::from(net.network()) + 2;
    let end = u32::from(net.broadcast());
    let start = last.map(u32::from).filter(|last| (first..end).contains(last)).map_or(first, |last| last + 1);
    (start..end).chain(first..start).map(Ipv4Addr::from)
}

fn read_entries(dir: &Path) -> Result<Vec<(Ipv4Addr, Reservation)>, CniError> {
    let mut entries = Vec::new();
    let files = fs::read_dir(dir).map_err(|error| io_error("list", dir, &error))?;
    for file in files {
        let file = file.map_err(|error| io_error("list", dir, &error))?;
        let Some(address) = file.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let bytes = fs::read(file.path()).map_err(|error| io_error("read", &file.path(), &error))?;
        if let Ok(reservation) = serde_json::from_slice(&bytes) {
            entries.push((address, reservation));
        }
    }
    entries.sort_by_key(|(address, _)| *address);
    Ok(entries)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CniError> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|error| io_error("write", path, &error))
}

fn io_error(verb: &str, path: &Path, error: &io::Error) -> CniError {
    CniError::new(Code::Io, format!("cannot {verb} {}", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reservation(container: &str) -> Reservation {
        Reservation {
            container: container.to_owned(),
            ifname: "eth0".to_owned(),
            host_link: format!("veth{container}"),
            port_mappings: Vec::new(),
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("mk8s-net-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn addresses_rest_after_release_and_survive_reopening() {
        let dir = scratch("book");
        let net: Ipv4Net = "10.42.7.0/29".parse().unwrap();
        let reserve = |container: &str| {
            Book::open(&dir, "net").unwrap().reserve(net, reservation(container)).map(|address| address.to_string())
        };
        assert_eq!(reserve("a").unwrap(), "10.42.7.2");
        assert_eq!(reserve("b").unwrap(), "10.42.7.3");
        assert_eq!(reserve("a").unwrap(), "10.42.7.2", "a second ADD keeps the address");
        let released = Book::open(&dir, "net").unwrap().release("a", "eth0").unwrap();
        assert_eq!(released, Some(reservation("a")));
        assert_eq!(Book::open(&dir, "net").unwrap().release("a", "eth0").unwrap(), None);
        for (container, address) in [("c", "10.42.7.3"), ("c", "10.42.7.3")] {
            // The last one given out was .2 (again), .3 is taken, so .4 is next.
            assert_ne!(reserve(container).unwrap(), address);
        }
        assert_eq!(reserve("d").unwrap(), "10.42.7.5");
        assert_eq!(reserve("e").unwrap(), "10.42.7.6");
        assert_eq!(reserve("f").unwrap(), "10.42.7.2", "wraps around to what was released");
        let full = reserve("g").unwrap_err();
        assert_eq!(
            (full.code, full.message.as_str()),
            (Code::TryAgainLater, "no free address in 10.42.7.0/29: 5 in use")
        );
        fs::write(dir.join("net/10.42.7.4"), b"").unwrap();
        assert_eq!(reserve("h").unwrap(), "10.42.7.4", "an emptied file counts as free");
        fs::remove_dir_all(&dir).unwrap();
    }
}
