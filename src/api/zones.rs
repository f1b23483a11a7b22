//! Time zones by name: from the machine's database, which its owner keeps up to date, and from a copy in the executable
//! what that one does not have, or where there is none. Small machines come without `/usr/share/zoneinfo`, and a schedule
//! must mean the same on every server of a cluster.
//!
//! What is a name, and the words for what is none, are those of Go's `time.LoadLocation`: upper and lower case matter.

use jiff::tz::{self, TimeZone, TimeZoneDatabase};

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    #[error("time: invalid location name")]
    Invalid,
    #[error("unknown time zone {0}")]
    Unknown(String),
}

/// The time zone of this name; `Local` is where the machine is.
pub fn get(name: &str) -> Result<TimeZone, ZoneError> {
    find(tz::db(), name)
}

fn find(machine: &TimeZoneDatabase, name: &str) -> Result<TimeZone, ZoneError> {
    match name {
        "" | "UTC" => return Ok(TimeZone::UTC),
        "Local" => return Ok(TimeZone::system()),
        _ => {}
    }
    if name.contains("..") || name.starts_with(['/', '\\']) {
        return Err(ZoneError::Invalid);
    }
    // What is only alike but for case has another name; what is asked for as unknown is.
    let known = |zone: &TimeZone| zone.iana_name() == Some(name) && !zone.is_unknown();
    let found = machine.get(name).ok().filter(known);
    let found = found.or_else(|| TimeZoneDatabase::bundled().get(name).ok().filter(known));
    found.ok_or_else(|| ZoneError::Unknown(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn told(machine: &TimeZoneDatabase, name: &str) -> String {
        let noon: Timestamp = "2026-07-01T12:00:00Z".parse().expect("a time");
        match find(machine, name) {
            Ok(zone) => noon.to_zoned(zone).strftime("%H:%M").to_string(),
            Err(why) => why.to_string(),
        }
    }

    #[test]
    fn zones_are_known_without_a_database() {
        for machine in [&TimeZoneDatabase::none(), tz::db()] {
            for (name, expected) in [
                ("", "12:00"),
                ("UTC", "12:00"),
                ("Etc/UTC", "12:00"),
                ("Europe/Berlin", "14:00"),
                ("America/Argentina/ComodRivadavia", "09:00"),
                ("Asia/Kathmandu", "17:45"),
                ("US/Eastern", "08:00"),
                ("EST5EDT", "08:00"),
                ("Etc/GMT+5", "07:00"),
                ("europe/berlin", "unknown time zone europe/berlin"),
                ("utc", "unknown time zone utc"),
                ("local", "unknown time zone local"),
                ("Etc/Unknown", "unknown time zone Etc/Unknown"),
                ("Mars/Base", "unknown time zone Mars/Base"),
                ("Europe", "unknown time zone Europe"),
                ("/Europe/Berlin", "time: invalid location name"),
                ("Europe/../UTC", "time: invalid location name"),
            ] {
                assert_eq!(told(machine, name), expected, "{name:?} in {machine:?}");
            }
        }
    }

    #[test]
    fn the_machine_is_asked_first() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("Europe")).expect("a folder");
        // A zone of its own: two hours before UTC, always.
        let mut zone = vec![];
        for version in [b'2', b'2'] {
            zone.extend(b"TZif");
            zone.push(version);
            zone.extend([0; 15]);
            for count in [0u32, 0, 0, 0, 1, 4] {
                zone.extend(count.to_be_bytes());
            }
            zone.extend((-7200i32).to_be_bytes());
            zone.extend([0, 0]);
            zone.extend(b"-02\0");
        }
        zone.extend(b"\n<-02>2\n");
        std::fs::write(folder.path().join("Europe/Berlin"), zone).expect("a zone");
        let machine = TimeZoneDatabase::from_dir(folder.path()).expect("a database");
        assert_eq!(told(&machine, "Europe/Berlin"), "10:00");
        assert_eq!(told(&machine, "Europe/Paris"), "14:00", "from the copy");
    }
}
