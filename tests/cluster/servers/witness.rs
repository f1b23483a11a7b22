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
    // What is the file's own differs much between builds.
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Which servers have data, the one that leads first.
fn by_lead<'s, 'h>(a: &'s Server<'h>, b: &'s Server<'h>) -> [&'s Server<'h>; 2] {
    a.wait("one of them leads", SOON, |server| {
        let leader = with_role(&server.cluster(&["members"])?, "leader").pop()?;
        if leader == a.name {
            Some([a, b])
        } else if leader == b.name {
            Some([b, a])
        } else {
            None
        }
    })
}

#[test]
fn with_a_witness_either_of_two_servers_may_be_lost() {
    let host = Host::prepare("witness", &[]);
    let a = Server::start(&host, "a", 6443, Vec::new());
    a.wait_until_ready();
    let joining = a.joining(&a.token());
    let witness =
        |name: &str, port| Server::start(&host, name, port, [joining.clone(), vec!["--witness".into()]].concat());
    let early = witness("early", 6446);
    early.wait("two have data first", SOON, |early| early.log().contains("let a second server join").then_some(()));
    let b = Server::start(&host, "b", 6444, joining.clone());
    b.wait_until_ready();
    let w = witness("w", 6445);
    a.wait("all vote", Duration::from_secs(60), |server| {
        let members = server.cluster(&["members"])?;
        (with_role(&members, "witness") == ["w"] && with_role(&members, "voter").len() == 1).then_some(())
    });
    early.kill();
    early.run();
    early.wait("one is enough", SOON, |early| early.log().contains("there is a witness already").then_some(()));

    let at_witness = |path: &str| {
        let url = format!("https://{}:6445{path}", host.address);
        let output = host.command("curl").args(["-sk", "--max-time", "5", &url]).output().expect("curl can be started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!([at_witness("/healthz"), at_witness("/livez"), at_witness("/readyz")], ["ok", "ok", "ok"]);
    let refused = at_witness("/metrics");
    assert!(refused.contains("to client certificates of the groups"), "{refused}");
    let kubectl = ["--server", &format!("https://{}:6445", host.address), "get", "--raw", "/metrics"];
    let shown = a.kubectl(&kubectl).expect("the administrator sees them");
    assert!(shown.contains("etcd_server_has_leader 1") && shown.contains("etcd_disk_wal_fsync"), "{shown}");
    let refused = at_witness("/api/v1/pods");
    assert!(refused.contains("this server is a witness") && refused.contains("ask https://"), "{refused}");
    let refused = a.mk8s(&["cluster", "transfer", "3"]).expect_err("it does not lead");
    assert!(refused.contains("member 3 is a witness"), "{refused}");
    let said = w.cluster(&["status"]).expect("whoever is asked, the leader answers");
    assert!(said.contains("3 of 3 voting servers are up"), "{said}");
    let told = a.wait("agents are told of both servers", SOON, |server| {
        let told = server.kubectl(&["get", "configmap", "-n", "kube-system", "mk8s-servers", "-o", "yaml"])?;
        (told.contains(":6443") && told.contains(":6444")).then_some(told)
    });
    assert!(!told.contains(":6445"), "{told}");

    let mut written = Vec::new();
    for n in 0..4 {
        let [leading, other] = by_lead(&a, &b);
        write(leading, &format!("before-{n}"));
        leading.kill();
        write(other, &format!("after-{n}"));
        written.extend([format!("before-{n}"), format!("after-{n}")]);
        let names = other.kubectl(&["get", "configmaps", "-o", "name"]).expect("it serves");
        for name in &written {
            assert!(names.contains(&format!("configmap/{name}\n")), "{name} is there: {names}");
        }
        assert_eq!(by_lead(other, other)[0].name, other.name);
        leading.run();
        leading.wait_until_ready();
        leading.wait("it has everything", SOON, |server| {
            let names = server.kubectl(&["get", "configmaps", "-o", "name"])?;
            written.iter().all(|name| names.contains(name)).then_some(())
        });
    }

    // The witness may be lost as well, and comes back; its directory is of no use to others.
    w.kill();
    write(&a, "without-the-witness");
    let refused = w.mk8s(&["cluster", "recover", "--yes"]).expect_err("it has no data");
    assert!(refused.contains("is that of a witness"), "{refused}");
    let mut misused = Server::new(&host, "misused", 6447, Vec::new());
    misused.dir.clone_from(&w.dir);
    misused.run();
    misused.wait("it is refused", SOON, |server| server.log().contains("start it with --witness").then_some(()));
    w.run();
    w.wait("it is healthy", SOON, |_| (at_witness("/healthz") == "ok").then_some(()));
    let memory = memory_kb(&w);
    assert!(memory < 25_000, "the witness has {memory} kB of its own");
}
