//! Who is not let in, and what it is told.

use super::Server;
use crate::support::host::Host;
use std::time::Duration;

/// Starts a server that must end by itself; its log.
fn refused(server: &Server<'_>) -> String {
    server.run();
    server.wait("it ends", Duration::from_secs(30), |server| {
        let mut child = server.child.lock().expect("not poisoned");
        let ended = child.as_mut().and_then(|child| child.try_wait().expect("it can be asked"))?;
        *child = None;
        Some(ended)
    });
    server.log()
}

#[test]
fn a_server_that_may_not_join_is_told_why() {
    let host = Host::prepare("strangers", &[]);
    let first = Server::start(&host, "a", 6443, Vec::new());
    let other = Server::start(&host, "other", 6446, Vec::new());
    first.wait_until_ready();
    other.wait_until_ready();
    let (token, foreign) = (first.token(), other.token());
    let (hash, _) = token.split_once("::").expect("a whole token");
    let nobody = vec!["--join".into(), format!("https://{}:6999", host.address), "--token".into(), token.clone()];
    let cases = [
        (
            "hash",
            first.joining(&format!("K10{}::server:abc", "0".repeat(64))),
            "its CA is not the one that the token names",
        ),
        ("foreign", first.joining(&foreign), "its CA is not the one that the token names"),
        (
            "secret",
            first.joining(&format!("{hash}::server:abc")),
            "the token is wrong: it is in <data-dir>/server/token",
        ),
        ("half", first.joining("abc"), "the token does not carry the CA's hash"),
        ("unreachable", nobody, "cannot be reached"),
        ("twin", first.joining(&token), "a server named a is a member and answers"),
    ];
    for (number, (name, flags, why)) in (0..).zip(cases) {
        let mut server = Server::new(&host, name, 6450 + number, flags);
        if name == "twin" {
            "a".clone_into(&mut server.name);
        }
        let log = refused(&server);
        assert!(log.contains(why), "{name}: {log}");
        assert!(!log.contains("panicked"), "{name}: {log}");
    }
    // A directory that was used is no place to join from.
    other.kill();
    let used = Server::new(&host, "other", 6446, first.joining(&token));
    std::fs::remove_file(used.data_dir().join("server/member.json")).expect("it was a member");
    used.run();
    used.wait("it is refused", Duration::from_secs(20), |server| {
        server.log().contains("holds the data of a cluster").then_some(())
    });
    // Another server's store in this one's place.
    first.kill();
    let (ours, theirs) = (first.data_dir().join("server/store"), other.data_dir().join("server/store"));
    std::fs::rename(&ours, ours.with_extension("kept")).expect("it can be renamed");
    std::fs::rename(&theirs, &ours).expect("it can be renamed");
    first.run();
    first.wait("it is refused", Duration::from_secs(20), |server| {
        server.log().contains("put that server's own directory back").then_some(())
    });
}
