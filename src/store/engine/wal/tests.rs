//! What the log owes, whatever was cut off or broken.

use super::*;
use proptest::prelude::*;
use std::{collections::BTreeMap, fs};

fn entry(index: u64, term: u64, size: usize) -> Arc<LogEntry> {
    Arc::new(LogEntry { index, term, kind: 0, data: vec![index as u8; size], context: vec![7; 24] })
}

fn state(term: u64) -> HardState {
    HardState { term, vote: 1, commit: term }
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let log = dir.path().join("log");
    (dir, log)
}

fn open(dir: &Path) -> io::Result<Wal> {
    Wal::open(dir, 0, HardState::default())
}

fn indexes(wal: &Wal) -> Vec<u64> {
    wal.entries(0, u64::MAX, u64::MAX).expect("it reads").iter().map(|entry| entry.index).collect()
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).expect("a directory").map(|file| file.expect("a file").file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().expect("it is text")).collect();
    names.sort();
    names
}

fn name(sequence: u64) -> String {
    format!("{sequence:016x}.log")
}

#[test]
fn an_append_cut_off_at_any_byte_is_gone_and_those_before_stay() {
    let (_scratch, dir) = scratch();
    let wal = Wal::create(&dir, 0, HardState::default()).expect("it is made");
    wal.append(&[entry(1, 1, 100)], Some(state(1))).expect("it appends");
    let from = wal.writer.lock().end as usize;
    wal.append(&[entry(2, 2, 30), entry(3, 2, 10)], Some(state(2))).expect("it appends");
    let to = wal.writer.lock().end as usize;
    drop(wal);
    let whole = fs::read(dir.join(name(1))).expect("a segment");
    for cut in from..to {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        let complete = torn == whole;
        fs::write(dir.join(name(1)), torn).expect("written");
        let wal = open(&dir).expect("it opens");
        let expected = if complete { (vec![1, 2, 3], 2) } else { (vec![1], 1) };
        assert_eq!((indexes(&wal), wal.hard_state().term), expected, "cut at {cut}");
        wal.append(&[entry(2, 3, 5)], None).expect("it goes on");
        drop(wal);
        assert_eq!(indexes(&open(&dir).expect("it opens")), [1, 2]);
    }
}

#[test]
fn a_byte_changed_before_the_last_append_is_damage() {
    let (_scratch, dir) = scratch();
    let wal = Wal::create(&dir, 0, HardState::default()).expect("it is made");
    for index in 1..=3 {
        wal.append(&[entry(index, 1, 20)], None).expect("it appends");
    }
    let last = frame::bound(&[entry(3, 1, 20)]);
    let to = wal.writer.lock().end as usize - last;
    drop(wal);
    let whole = fs::read(dir.join(name(1))).expect("a segment");
    for at in 0..to {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        fs::write(dir.join(name(1)), changed).expect("written");
        match open(&dir) {
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}"),
            // What fills up a head or a frame says nothing.
            Ok(wal) => assert_eq!(indexes(&wal), [1, 2, 3], "byte {at}"),
        }
    }
}

#[test]
fn segments_follow_each_other_and_go_when_their_entries_do() {
    let (_scratch, dir) = scratch();
    let wal = Wal::create(&dir, 0, HardState::default()).expect("it is made");
    wal.append(&[], Some(state(9))).expect("it appends");
    for index in 1..=6 {
        wal.append(&[entry(index, 1, 3 << 20)], None).expect("it appends");
    }
    assert_eq!(files(&dir), [name(1), name(2), name(3), "spare".to_owned()]);
    assert_eq!(wal.used_bytes(), 3 * segment::SEGMENT as u64);
    let wal = open(&dir).expect("it opens");
    assert_eq!(indexes(&wal), [1, 2, 3, 4, 5, 6]);
    let second = wal.entries(2, 6, 7 << 20).expect("it reads");
    assert_eq!(second, [(*entry(2, 1, 3 << 20)).clone(), (*entry(3, 1, 3 << 20)).clone()]);
    wal.cut(3).expect("cut");
    assert_eq!((files(&dir), indexes(&wal)), (vec![name(2), name(3), "spare".to_owned()], vec![4, 5, 6]));
    wal.cut(6).expect("cut");
    assert_eq!(files(&dir), [name(3), "spare".to_owned()], "what is written to stays");
    drop(wal);
    let wal = open(&dir).expect("it opens");
    assert_eq!((indexes(&wal), wal.hard_state()), (vec![5, 6], state(9)));
}

#[test]
fn an_append_may_be_larger_than_a_segment() {
    let (_scratch, dir) = scratch();
    let wal = Wal::create(&dir, 0, HardState::default()).expect("it is made");
    wal.append(&[entry(1, 1, 5), entry(2, 1, 20 << 20), entry(3, 1, 5)], None).expect("it appends");
    wal.append(&[entry(4, 1, 5)], None).expect("it appends");
    drop(wal);
    assert_eq!(indexes(&open(&dir).expect("it opens")), [1, 2, 3, 4]);
}

#[test]
fn a_segment_that_is_missing_or_short_is_damage_and_one_that_came_back_is_not() {
    let (_scratch, dir) = scratch();
    let wal = Wal::create(&dir, 0, HardState::default()).expect("it is made");
    for index in 1..=8 {
        wal.append(&[entry(index, 1, 3 << 20)], None).expect("it appends");
    }
    assert_eq!(files(&dir).len(), 5);
    let first = fs::read(dir.join(name(1))).expect("a segment");
    wal.cut(4).expect("cut");
    drop(wal);
    fs::write(dir.join(name(1)), first).expect("put back");
    assert_eq!(indexes(&open(&dir).expect("it opens")), [5, 6, 7, 8]);
    assert!(!files(&dir).contains(&name(1)), "it went for good");

    let third = fs::read(dir.join(name(3))).expect("a segment");
    fs::write(dir.join(name(3)), &third[..third.len() / 2]).expect("cut short");
    assert_eq!(open(&dir).err().expect("it is damaged").kind(), io::ErrorKind::InvalidData);
    fs::remove_file(dir.join(name(4))).expect("removed");
    fs::write(dir.join(name(3)), &third[..30]).expect("cut short");
    let error = open(&dir).err().expect("it is damaged").to_string();
    assert!(error.contains("has no head"), "{error}");
}

#[test]
fn a_log_of_an_epoch_before_does_not_count_and_one_of_a_later_is_damage() {
    let (_scratch, dir) = scratch();
    let wal = Wal::create(&dir, 0, HardState::default()).expect("it is made");
    wal.append(&[entry(1, 1, 5)], Some(state(1))).expect("it appends");
    drop(wal);
    let wal = Wal::open(&dir, 1, state(4)).expect("it opens");
    assert_eq!((wal.range(), wal.hard_state()), (None, state(4)));
    wal.append(&[entry(41, 4, 5)], None).expect("it begins anywhere");
    wal.restart(2, state(5)).expect("begun");
    wal.append(&[entry(90, 5, 5)], None).expect("it begins anywhere");
    drop(wal);
    assert_eq!(files(&dir), [name(3), "spare".to_owned()]);
    let wal = Wal::open(&dir, 2, HardState::default()).expect("it opens");
    assert_eq!((wal.range(), wal.hard_state()), (Some((90, 90)), state(5)));
    drop(wal);
    assert_eq!(open(&dir).err().expect("it is damaged").kind(), io::ErrorKind::InvalidData);
}

#[test]
fn an_entry_that_changed_on_the_disk_is_not_given_out() {
    let (_scratch, dir) = scratch();
    let wal = Wal::create(&dir, 0, HardState::default()).expect("it is made");
    wal.append(&[entry(1, 1, 50), entry(2, 1, 50)], None).expect("it appends");
    let at = wal.index.lock().places[1].1.offset + 40;
    wal.writer.lock().segment.file.write_all_at(b"?", u64::from(at)).expect("written");
    let error = wal.entries(1, 3, u64::MAX).expect_err("it is damaged").to_string();
    assert!(error.contains("entry 2 cannot be read"), "{error}");
}

#[test]
fn a_disk_without_room_for_a_segment_is_full() {
    let (_scratch, dir) = scratch();
    let wal = Wal::create(&dir, 0, HardState::default()).expect("it is made");
    assert!(wal.has_room());
    fs::remove_file(dir.join("spare")).expect("removed");
    // Nothing can be made in its place.
    fs::create_dir(dir.join("spare")).expect("made");
    fs::write(dir.join("spare/x"), "").expect("made");
    assert!(!wal.has_room());
    wal.append(&[entry(1, 1, 5)], None).expect("there is room in the segment");
    wal.append(&[entry(2, 1, 9 << 20)], None).expect_err("there is none for another");
    fs::remove_dir_all(dir.join("spare")).expect("removed");
    assert!(wal.has_room());
    wal.append(&[entry(2, 1, 9 << 20)], None).expect("there is room again");
}

#[derive(Debug, Clone)]
enum Step {
    /// So far before the end, so many entries, of such a size.
    Append(u64, u64, usize),
    Vote,
    Cut(u64),
    Reopen,
    /// The last append is cut off, where one was since the log was opened.
    Tear(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u64..4, 1u64..6, 0usize..3000).prop_map(|(back, count, size)| Step::Append(back, count, size)),
        1 => Just(Step::Append(0, 2, 3 << 20)),
        2 => Just(Step::Vote),
        1 => (0u64..9).prop_map(Step::Cut),
        2 => Just(Step::Reopen),
        2 => (1usize..60).prop_map(Step::Tear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_map_whatever_happens(steps in prop::collection::vec(step(), 1..30)) {
        let (_scratch, dir) = scratch();
        let mut wal = Wal::create(&dir, 0, HardState::default()).expect("it is made");
        let mut log = BTreeMap::<u64, LogEntry>::new();
        let (mut term, mut cut) = (0, 0);
        let mut before = None;
        for (at, step) in steps.into_iter().enumerate() {
            let last = log.last_key_value().map_or(cut, |(last, _)| *last);
            match step {
                Step::Append(back, count, size) => {
                    before = Some((log.clone(), term));
                    let from = last.saturating_sub(back).max(cut) + 1;
                    let entries: Vec<_> = (from..from + count).map(|index| entry(index, at as u64, size)).collect();
                    wal.append(&entries, None).expect("it appends");
                    log.split_off(&from);
                    log.extend(entries.iter().map(|entry| (entry.index, (**entry).clone())));
                }
                Step::Vote => {
                    before = Some((log.clone(), term));
                    term += 1;
                    wal.append(&[], Some(state(term))).expect("it appends");
                }
                Step::Cut(entries) => {
                    before = None;
                    cut = last.min(cut + entries);
                    wal.cut(cut).expect("cut");
                    log = log.split_off(&(cut + 1));
                }
                Step::Reopen | Step::Tear(_) => {
                    let end = wal.writer.lock().end as usize;
                    drop(wal);
                    if let (Step::Tear(bytes), Some((older, voted))) = (step, before.take()) {
                        let newest = dir.join(files(&dir).iter().rev().nth(1).expect("a segment"));
                        let mut torn = fs::read(&newest).expect("a segment");
                        // Frames are filled up with up to seven bytes, which say nothing.
                        let from = end.saturating_sub(bytes + 7).max(frame::HEAD);
                        torn[from..end].fill(0xff);
                        let whole = frame::read(&torn, 0);
                        prop_assert!(whole.batches.is_empty(), "another segment's frames are none");
                        if end - from <= frame::bound(&[]) {
                            fs::write(&newest, torn).expect("written");
                            (log, term) = (older, voted);
                        }
                    }
                    wal = open(&dir).expect("it opens");
                    // What was cut may have come back.
                    wal.cut(cut).expect("cut");
                }
            }
            let found: BTreeMap<_, _> =
                wal.entries(0, u64::MAX, u64::MAX).expect("it reads").into_iter().map(|e| (e.index, e)).collect();
            prop_assert_eq!(&found, &log);
            prop_assert_eq!(wal.hard_state().term, term);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), sequence in any::<u64>()) {
        Head::read(&bytes);
        frame::read(&bytes, sequence);
    }
}
