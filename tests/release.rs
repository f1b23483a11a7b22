//! The executable that is released: it runs wherever glibc 2.17 or newer is, and it is small.
//!
//! `MK8S_RELEASE_BINARY` names it (`release/build.sh` makes it); without that nothing is tested, which is said.

#![allow(clippy::print_stderr)] // What was measured, and what was left out.

use object::{
    Endianness,
    elf::FileHeader64,
    read::elf::{FileHeader, SectionHeader},
};
use std::{collections::BTreeSet, fs, path::PathBuf};

const GLIBC_MAX: (u32, u32) = (2, 17);
const SIZE_MAX_BYTES: usize = 40 << 20;

/// The executable to test, read whole.
fn binary(test: &str) -> Option<(PathBuf, Vec<u8>)> {
    let Some(path) = std::env::var_os("MK8S_RELEASE_BINARY").filter(|path| !path.is_empty()) else {
        eprintln!("SKIPPED {test}: MK8S_RELEASE_BINARY does not name an executable; release/build.sh makes one");
        return None;
    };
    let path = PathBuf::from(path);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("MK8S_RELEASE_BINARY={}: {error}", path.display()));
    Some((path, bytes))
}

/// Every `LIBRARY VERSION` the dynamic linker must find.
fn needed_versions(file: &[u8]) -> BTreeSet<(String, String)> {
    let header = FileHeader64::<Endianness>::parse(file).expect("a 64-bit ELF file");
    let endian = header.endian().expect("a byte order");
    let sections = header.sections(endian, file).expect("sections");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut found = BTreeSet::new();
    for section in sections.iter() {
        let Some((mut libraries, link)) = section.gnu_verneed(endian, file).expect("version needs") else { continue };
        let strings = sections.strings(endian, file, link).expect("their strings");
        while let Some((library, mut versions)) = libraries.next().expect("a library") {
            let name = text(library.file(endian, strings).expect("its name"));
            while let Some(version) = versions.next().expect("a version") {
                found.insert((name.clone(), text(version.name(endian, strings).expect("its name"))));
            }
        }
    }
    found
}

/// `GLIBC_2.17` as numbers; other versions are none of glibc's.
fn glibc(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("GLIBC_")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

#[test]
fn the_release_runs_with_an_old_glibc() {
    let Some((path, bytes)) = binary("the_release_runs_with_an_old_glibc") else { return };
    let needed = needed_versions(&bytes);
    let highest = needed.iter().filter_map(|(_, version)| glibc(version)).max();
    eprintln!("{}: needs glibc {highest:?}", path.display());
    let newer: Vec<_> =
        needed.iter().filter(|(_, version)| glibc(version).is_some_and(|version| version > GLIBC_MAX)).collect();
    assert!(newer.is_empty(), "{} needs more than glibc {GLIBC_MAX:?}: {newer:?}", path.display());
    let private: Vec<_> = needed.iter().filter(|(_, version)| version == "GLIBC_PRIVATE").collect();
    assert!(private.is_empty(), "{} uses what is private to one glibc: {private:?}", path.display());
}

#[test]
fn the_release_is_small() {
    let Some((path, bytes)) = binary("the_release_is_small") else { return };
    eprintln!("{}: {} bytes", path.display(), bytes.len());
    assert!(
        bytes.len() <= SIZE_MAX_BYTES,
        "{} has {} bytes, at most {SIZE_MAX_BYTES} are wanted",
        path.display(),
        bytes.len()
    );
}

/// The reading is tried out on a program that is always there: this one.
#[test]
fn versions_are_read() {
    let own = fs::read(std::env::current_exe().expect("this program")).expect("it can be read");
    let needed = needed_versions(&own);
    assert!(
        needed.iter().any(|(library, version)| library.starts_with("libc.so") && glibc(version).is_some()),
        "{needed:?}"
    );
    assert_eq!((glibc("GLIBC_2.2.5"), glibc("GLIBC_2.17"), glibc("GCC_3.0")), (Some((2, 2)), Some((2, 17)), None));
}
