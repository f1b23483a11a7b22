//! Secrets are in no file of a server, and every server reads them: before and after another key, a restart, a joining.

use super::{Server, three};
use crate::support::host::Host;
use std::{fs, path::Path, time::Duration};

const TEXT: &str = "b3BlbiBzZXNhbWU=";

fn in_files(dir: &Path, text: &str) -> bool {
    fs::read_dir(dir).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        // Files come and go while the servers work.
        let read = || fs::read(&path).unwrap_or_default();
        if path.is_dir() {
            in_files(&path, text)
        } else {
            read().windows(text.len()).any(|window| window == text.as_bytes())
        }
    })
}

fn reads(server: &Server<'_>, name: &str) {
    let text = server.wait("the Secret is read", Duration::from_secs(30), |server| {
        server.kubectl(&["get", "secret", name, "-o", "jsonpath={.data.word}"])
    });
    assert_eq!(text, TEXT, "{}", server.name);
}

fn key(server: &Server<'_>) -> String {
    let status = server.mk8s(&["secrets-encrypt", "status"]).expect("it answers");
    assert!(status.contains("Encryption Status: Enabled\nResources: secrets ("), "{status}");
    status.split_whitespace().last().expect("a key").to_owned()
}

#[test]
fn secrets_are_sealed_at_rest_on_every_server() {
    let host = Host::prepare("sealing", &[]);
    let servers = three(&host);
    let create = |server: &Server<'_>, name: &str| {
        server.wait("it is written", Duration::from_secs(30), |server| {
            server.kubectl(&["create", "secret", "generic", name, "--from-literal=word=open sesame"])
        })
    };
    create(&servers[0], "one");
    create(&servers[1], "two");
    let before = key(&servers[0]);
    // Not before every server has said that it reads sealed values.
    let told = servers[1]
        .wait("it is rotated", Duration::from_secs(30), |server| server.mk8s(&["secrets-encrypt", "rotate"]).ok());
    assert!(told.starts_with("rotated: the key is aesgcm-"), "{told}");
    create(&servers[2], "three");
    for server in &servers {
        server.wait("it has the new key", Duration::from_secs(30), |server| {
            (key(server) == key(&servers[1])).then_some(())
        });
        assert_ne!(key(server), before);
        ["one", "two", "three"].into_iter().for_each(|name| reads(server, name));
        assert!(!in_files(&server.data_dir().join("server"), TEXT), "{}", server.name);
    }
    let saved = host.scratch("saved").join("all.snapshot");
    servers[0].mk8s(&["snapshot", "save", saved.to_str().expect("a path")]).expect("it is saved");
    assert!(!in_files(saved.parent().expect("a directory"), TEXT));
    servers.iter().for_each(Server::kill);
    servers.iter().for_each(Server::run);
    for server in &servers {
        ["one", "two", "three"].into_iter().for_each(|name| reads(server, name));
    }
    // From the snapshot, on a machine that knows the token only.
    servers.iter().for_each(Server::kill);
    let restored = Server::new(&host, "restored", 6447, Vec::new());
    let token = servers[0].token();
    restored
        .mk8s(&["snapshot", "restore", saved.to_str().expect("a path"), "--token", &token])
        .expect("it is restored");
    restored.run();
    ["one", "two", "three"].into_iter().for_each(|name| reads(&restored, name));
    assert!(!in_files(&restored.data_dir().join("server"), TEXT));
}
