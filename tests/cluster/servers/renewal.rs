//! A cluster begins anew: from a snapshot, on its own machine or another one, and from the last server that is left.

use super::{Server, three};
use crate::support::host::Host;
use nix::sys::signal::Signal;
use std::{fs, path::Path, time::Duration};

fn create(server: &Server<'_>, name: &str) {
    server.kubectl(&["create", "configmap", name]).unwrap_or_else(|| panic!("{name} is created\n{}", server.log()));
}

fn has(server: &Server<'_>, name: &str) -> bool {
    server.kubectl(&["get", "configmap", name]).is_some()
}

fn empty(server: &Server<'_>) {
    fs::remove_dir_all(server.data_dir()).expect("it can be removed");
}

fn words(path: &Path) -> &str {
    path.to_str().expect("a path in ASCII")
}

#[test]
fn a_cluster_begins_anew_from_a_snapshot_and_from_its_last_server() {
    let host = Host::prepare("renewal", &[]);
    let [a, b, c] = three(&host);
    create(&a, "before");
    let file = host.scratch("files").join("one.snapshot");
    // Any server saves what all have answered.
    let said = b.mk8s(&["snapshot", "save", words(&file)]).expect("it is saved");
    assert!(said.contains("keys at revision"), "{said}");
    create(&a, "after");
    let listed = a.mk8s(&["snapshot", "ls", words(&file)]).expect("it is listed");
    assert!(listed.lines().nth(1).is_some_and(|line| line.ends_with("good")), "{listed}");
    damaged_files_are_refused(&a, &file);

    let running = a.mk8s(&["snapshot", "restore", words(&file)]).expect_err("it runs");
    assert!(running.contains("in use by another process"), "{running}");
    let token = a.token();
    for server in [&a, &b, &c] {
        server.end(Signal::SIGTERM);
    }

    // Here: one goes back to the snapshot, another one still runs with the old state, the third joins again.
    let said = a.mk8s(&["snapshot", "restore", words(&file)]).expect("it is restored");
    assert!(said.contains("member 101"), "{said}");
    a.run();
    b.run();
    a.wait_until_ready();
    assert!(has(&a, "before") && !has(&a, "after"));
    create(&a, "renewed");
    empty(&c);
    let c = Server::new(&host, "c", 6445, a.joining(&token));
    c.run();
    c.wait_until_ready();
    c.wait_for_voters(1);
    assert!(has(&c, "renewed") && !has(&c, "after"));
    b.kill();

    // Elsewhere: the keys come out of the file.
    let new = Server::new(&host, "new", 6450, Vec::new());
    let refused = new.mk8s(&["snapshot", "restore", words(&file)]).expect_err("there are no keys");
    assert!(refused.contains("has no keys of a cluster"), "{refused}");
    let wrong = token.rsplit_once(':').expect("a secret").0.to_owned() + ":wrong";
    let refused = new.mk8s(&["snapshot", "restore", words(&file), "--token", &wrong]).expect_err("a wrong token");
    assert!(refused.contains("cannot be opened with this token"), "{refused}");
    new.mk8s(&["snapshot", "restore", words(&file), "--token", &token]).expect("it is restored");
    new.run();
    new.wait_until_ready();
    assert!(has(&new, "before") && !has(&new, "renewed"));
    new.kill();

    // The last one that is left.
    a.kill();
    assert!(
        c.kubectl(&["create", "configmap", "lonely", "--request-timeout=3s"]).is_none(),
        "one of two takes no write"
    );
    c.kill();
    let warned = c.mk8s(&["cluster", "recover"]).expect_err("it is not said");
    assert!(warned.contains("say --yes"), "{warned}");
    let said = c.mk8s(&["cluster", "recover", "--yes"]).expect("it recovers");
    assert!(said.contains("member 201"), "{said}");
    c.run();
    c.wait_until_ready();
    assert!(has(&c, "renewed"));
    create(&c, "alone");
    // The other one is back with its old data, and is no member.
    a.run();
    c.wait("it does not take part", Duration::from_secs(20), |server| {
        let members = server.cluster(&["members"])?;
        (members.lines().count() == 2).then_some(())
    });
    create(&c, "still");
}

fn damaged_files_are_refused(server: &Server<'_>, file: &Path) {
    let good = fs::read(file).expect("it can be read");
    let bad = file.with_extension("bad");
    let (mut changed, mut newer) = (good.clone(), good.clone());
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    newer[17] = 9;
    let cases: [(&[u8], &str); 4] = [
        (&changed, "it is damaged (its checksum is wrong): use another one"),
        (&good[..good.len() - 100], "it is damaged (it is cut short): use another one"),
        (&newer, "it has format 9, this executable reads up to 1"),
        (b"hello", "it is no snapshot of mk8s"),
    ];
    for (bytes, why) in cases {
        fs::write(&bad, bytes).expect("it can be written");
        let elsewhere = file.with_extension("data");
        let mut command = server.host.command(crate::support::tools::mk8s());
        command.args(["snapshot", "restore", words(&bad), "--data-dir", words(&elsewhere), "--token", &server.token()]);
        let refused = super::output(&mut command).expect_err("it is refused");
        assert!(refused.contains(why), "{refused}");
        assert!(!elsewhere.join("server/store").exists(), "nothing was changed");
    }
}
