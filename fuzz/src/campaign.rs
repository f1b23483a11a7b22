//! Running the targets: each in a child process, so that a stack overflow, an abort or an endless loop costs one target and
//! is told with the input that caused it.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{Read, Write},
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::resource::{Resource, setrlimit};

use crate::{
    clock,
    mutate::Dice,
    targets::{self, Target},
};

const SECONDS: &str = "MK8S_FUZZ_SECONDS";
const SEED: &str = "MK8S_FUZZ_SEED";
/// What marks a child's arguments.
const CHILD: &str = "--child";
const REPEAT: &str = "--repeat";
/// An input that has a processor for longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(20);
/// What a child may have of memory, in bytes: an input that makes it grow without end must not take the machine along.
const MEMORY: u64 = 4 << 30;
/// How long a child may need besides its time: building the corpus, and ending. One that waits for nothing is ended then.
const SLACK: Duration = Duration::from_secs(180);

/// What the test was asked to do.
pub fn main(arguments: Vec<String>) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [CHILD, target, seed, seconds, progress] => child(target, number(seed), number(seconds), Path::new(progress)),
        [REPEAT, target, seed, at] => repeat(target, number(seed), number(at)),
        // What a test harness would print of its tests.
        _ if words.contains(&"--list") => ExitCode::SUCCESS,
        _ => parent(&words.into_iter().filter(|word| !word.starts_with('-')).collect::<Vec<_>>()),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn say(line: &str) {
    // Nobody to tell is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn named(name: &str) -> Option<&'static Target> {
    targets::ALL.iter().find(|target| target.name == name)
}

/// Runs the targets that a word names, or all.
fn parent(words: &[&str]) -> ExitCode {
    let wanted = |target: &&Target| words.is_empty() || words.iter().any(|word| target.name.contains(word));
    let mut chosen: Vec<&Target> = targets::ALL.iter().filter(wanted).collect();
    chosen.reverse();
    let asked = env::var(SECONDS).ok();
    let seconds = asked.as_deref().map_or(2, number);
    // Short runs are the same every time; long ones look further each time.
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = env::var(SEED).map_or_else(|_| if asked.is_some() { clock() } else { 1 }, |seed| number(&seed));
    let workers = thread::available_parallelism().map_or(2, |count| count.get());
    let (queue, failed) = (Mutex::new(chosen), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.pop());
                    let Some(target) = next else { return };
                    let outcome = run(target, seed, seconds);
                    say(&format!("fuzz {:<12} {}", target.name, outcome.as_ref().map_or("FAILED", |told| told)));
                    if let (Err(why), Ok(mut failed)) = (outcome, failed.lock()) {
                        failed.push(why);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    failed.iter().for_each(|why| say(&format!("\n{why}")));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One target in its own process: what it did, or how it failed.
fn run(target: &Target, seed: u64, seconds: u64) -> Result<String, String> {
    let file = progress_file(target.name);
    let told = |why: &str, at: u64| {
        format!("{}: {why}\n  repeat it: cargo test -p mk8s-fuzz -- {REPEAT} {} {seed} {at}", target.name, target.name)
    };
    let failed = |why: String| format!("{}: {why}", target.name);
    fs::write(&file, 0_u64.to_le_bytes())
        .map_err(|error| failed(format!("cannot write {}: {error}", file.display())))?;
    let program = env::current_exe().map_err(|error| failed(error.to_string()))?;
    let child = Command::new(program)
        .args([CHILD, target.name, &seed.to_string(), &seconds.to_string()])
        .arg(&file)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let (status, errors) = watch(child.map_err(|error| failed(error.to_string()))?, &file, seconds);
    let at = progress(&file);
    let _ = fs::remove_file(&file);
    match status {
        Some(true) => Ok(format!("ok, {at} inputs")),
        Some(false) => Err(told(errors.trim(), at)),
        None => Err(told(&format!("an input took longer than {HANGS_AFTER:?}"), at)),
    }
}

/// Waits for a child; `None` when it hung and was killed.
fn watch(mut child: Child, file: &Path, seconds: u64) -> (Option<bool>, String) {
    let mut pipe = child.stderr.take();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(pipe) = &mut pipe {
            let _ = pipe.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned()
    });
    let until = Instant::now() + Duration::from_secs(seconds) + SLACK;
    let (mut last, mut moved) = (0, Duration::ZERO);
    let status = loop {
        if let Ok(Some(status)) = child.try_wait() {
            break Some(status.success());
        }
        let (at, had) = (progress(file), clock::had_by(child.id()));
        if at != last {
            (last, moved) = (at, had);
        }
        if Instant::now() > until || (last > 0 && had.saturating_sub(moved) > HANGS_AFTER) {
            // It may have ended by now.
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(50));
    };
    (status, reader.join().unwrap_or_default())
}

fn progress_file(target: &str) -> PathBuf {
    env::temp_dir().join(format!("mk8s-fuzz-{}-{target}", std::process::id()))
}

/// The number of the input that is, or was last, at work.
fn progress(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap_or_default();
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// Feeds one target for some seconds. The number of each input is on disk before its turn comes, because nothing can be
/// told after a stack overflow.
fn child(name: &str, seed: u64, seconds: u64, file: &Path) -> ExitCode {
    let (Some(target), Ok(file)) = (named(name), OpenOptions::new().write(true).open(file)) else {
        return ExitCode::FAILURE;
    };
    // Where there is no such limit, there is none.
    let _ = setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY);
    let mut feed = (target.start)();
    let until = Instant::now() + Duration::from_secs(seconds);
    for number in 1_u64.. {
        if Instant::now() >= until {
            break;
        }
        let noted = file.write_all_at(&number.to_le_bytes(), 0);
        let fed = catch_unwind(AssertUnwindSafe(|| feed(&mut Dice::new(name, seed, number))));
        if fed.is_err() || noted.is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// One input again, with what a debugger or a backtrace tells of it.
fn repeat(name: &str, seed: u64, at: u64) -> ExitCode {
    let Some(target) = named(name) else {
        say(&format!(
            "no target is called {name}: {}",
            targets::ALL.iter().map(|target| target.name).collect::<Vec<_>>().join(", ")
        ));
        return ExitCode::FAILURE;
    };
    (target.start)()(&mut Dice::new(name, seed, at));
    say("nothing happened");
    ExitCode::SUCCESS
}
