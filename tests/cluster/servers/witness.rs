//! Two servers and a witness: either server may be lost, with every write that was answered still there.

use super::{Server, with_role};
use crate::support::host::Host;
use std::{fs, time::Duration};

const SOON: Duration = Duration::from_secs(30);

/// Writes at a server, as soon as it can.
fn write(server: &Server<'_>, name: &str) {
    server.wait("a write is taken", SOON, |server| server.kubectl(&["create", "configmap", name]));
}

fn memory_kb(server: &Server<'_>) -> u64 {
    let pid = server.child.lock().expect("not poisoned").as_ref().expect("it runs").id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn with_a_witness_either_of_two_servers_may_be_lost() {
    let host = Host::prepare("witness", &[]);
    let a = Server::start(&host, "a", 6443, Vec::new());
    a.wait_until_ready();
    let joining = a.joining(&a.token());
    let witness =
        |name: &str, port| Server::start(&host, name, port, [joining.clone(), vec!["--witness".into()]].concat());
    let b = Server::start(&host, "b", 6444, joining.clone());
    b.wait_until_ready();
    let w = witness("w", 6445);
    a.wait("the witness votes", Duration::from_secs(60), |server| {
        let members = server.cluster(&["members"])?;
        (with_role(&members, "witness") == ["w"]).then_some(())
    });
    let second = witness("v", 6446);
    second.wait("one is enough", SOON, |server| server.log().contains("there is a witness already").then_some(()));
    second.kill();

    let at_witness = |path: &str| {
        let url = format!("https://{}:6445{path}", host.address);
        let output = host.command("curl").args(["-sk", "--max-time", "5", &url]).output().expect("curl can be started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(at_witness("/healthz"), "ok");
    assert!(at_witness("/api/v1/pods").contains("this server is a witness"));
    assert!(a.cluster(&["transfer", "3"]).is_none(), "it does not lead");
    let said = w.cluster(&["status"]).expect("whoever is asked, the leader answers");
    assert!(said.contains("3 of 3 voting servers are up"), "{said}");

    for n in 0..4 {
        let (lost, left) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        write(lost, &format!("before-{n}"));
        lost.kill();
        write(left, &format!("after-{n}"));
        for known in (0..=n).flat_map(|n| [format!("before-{n}"), format!("after-{n}")]) {
            assert!(left.kubectl(&["get", "configmap", &known]).is_some(), "{known} is there");
        }
        let members = left.cluster(&["members"]).expect("it leads");
        assert_eq!(with_role(&members, "leader"), [left.name.clone()], "{members}");
        lost.run();
        lost.wait_until_ready();
    }
    // The witness may be lost as well, and comes back.
    w.kill();
    write(&a, "without-the-witness");
    w.run();
    w.wait("it is healthy", SOON, |_| (at_witness("/healthz") == "ok").then_some(()));
    let memory = memory_kb(&w);
    assert!(memory < 60_000, "the witness has {memory} kB");
}
