use std::os::unix::fs::PermissionsExt;

use super::*;

struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        let path = std::env::temp_dir().join(format!("mk8s-pki-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).expect("temporary directory");
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(dir: &Dir) -> PkiOptions {
    PkiOptions {
        dir: dir.0.clone(),
        node_name: "one".into(),
        node_ip: "192.0.2.7".parse().expect("ip"),
        service_ip: "10.43.0.1".parse().expect("ip"),
        cluster_domain: "cluster.local".into(),
        tls_sans: vec!["api.example.com".into()],
        token: None,
    }
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000)
}

#[test]
fn a_second_start_changes_nothing() {
    let dir = Dir::new();
    let first = Pki::load_or_create(options(&dir), now()).expect("first start");
    let second = Pki::load_or_create(options(&dir), now()).expect("second start");
    assert_eq!(first.ca_pem(), second.ca_pem());
    assert_eq!(first.join_token(), second.join_token());
    assert_eq!(first.admin_token(), second.admin_token());
    for role in ROLES {
        assert_eq!(first.leaf(role).cert_pem, second.leaf(role).cert_pem, "{role:?}");
    }
    assert_eq!(second.renew(now()).expect("nothing to renew"), vec![]);
}

#[test]
fn private_files_are_private() {
    let dir = Dir::new();
    Pki::load_or_create(options(&dir), now()).expect("first start");
    let mode = |file: &str| std::fs::metadata(dir.0.join(file)).expect(file).permissions().mode() & 0o777;
    for file in [
        "tls/ca.key",
        "tls/server.key",
        "tls/admin.key",
        "tls/service-account.key",
        "tls/front-proxy-ca.key",
        "token",
        "admin-token",
    ] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert_eq!((mode(""), mode("tls")), (0o700, 0o700));
    assert_eq!(mode("tls/ca.crt"), 0o644);
}

#[test]
fn leaves_follow_names_time_and_authority() {
    let dir = Dir::new();
    let first = Pki::load_or_create(options(&dir), now()).expect("first start");

    let other_san = PkiOptions { tls_sans: vec!["other.example.com".into()], ..options(&dir) };
    let renamed = Pki::load_or_create(other_san, now()).expect("start with another name");
    assert_ne!(first.leaf(Role::Server).cert_pem, renamed.leaf(Role::Server).cert_pem);
    assert_eq!(first.leaf(Role::Admin).cert_pem, renamed.leaf(Role::Admin).cert_pem);

    let later = now() + Duration::from_secs(300 * 24 * 3600);
    let mut seen = renamed.renewals();
    seen.mark_unchanged();
    assert_eq!(renamed.renew(later).expect("renewal"), ROLES.to_vec());
    assert!(seen.has_changed().expect("sender lives"));
    assert_eq!(renamed.renew(later).expect("renewed already"), vec![]);

    for file in ["tls/ca.key", "tls/ca.crt"] {
        std::fs::remove_file(dir.0.join(file)).expect(file);
    }
    let again = Pki::load_or_create(options(&dir), later).expect("a new authority");
    assert_ne!(again.leaf(Role::Admin).cert_pem, renamed.leaf(Role::Admin).cert_pem);
}

#[test]
fn a_crash_between_key_and_certificate_is_mended_and_a_lost_ca_key_is_told() {
    let dir = Dir::new();
    let first = Pki::load_or_create(options(&dir), now()).expect("first start");
    let tls = dir.0.join("tls");
    std::fs::copy(tls.join("admin.key"), tls.join("server.key")).expect("copy");
    let mended = Pki::load_or_create(options(&dir), now()).expect("mended");
    assert_ne!(first.leaf(Role::Server).key_pem, mended.leaf(Role::Server).key_pem);

    std::fs::remove_file(tls.join("ca.key")).expect("remove");
    let error = Pki::load_or_create(options(&dir), now()).expect_err("no key, no authority").to_string();
    assert!(error.contains("ca.key is missing"), "{error}");
    assert!(error.contains("restore it from a backup"), "{error}");
}

#[test]
fn peers_are_who_their_certificate_says() {
    let dir = Dir::new();
    let pki = Pki::load_or_create(options(&dir), now()).expect("start");
    let cases: [(Role, &str, &[&str]); 3] = [
        (Role::Admin, "system:admin", &["system:masters", "system:authenticated"]),
        (Role::Agent, "system:node:one", &["system:nodes", "system:authenticated"]),
        (Role::Scheduler, "system:kube-scheduler", &["system:authenticated"]),
    ];
    for (role, name, groups) in cases {
        let key = pki.leaf(role).certified_key().expect("usable");
        let peer = crate::auth::Peer::new(None, Some(&key.cert));
        let user = peer.user.expect("named");
        assert_eq!(user.name, name);
        assert_eq!(user.groups, groups);
    }
    assert!(crate::auth::Peer::new(None, None).user.is_none());
}

#[test]
fn tokens_keep_their_secret() {
    let long = format!("K10{}::server:abc", "0".repeat(64));
    let cases = [
        ("abc", Some("abc")),
        (long.as_str(), Some("abc")),
        ("K10abc", None),
        ("", None),
        ("a b", None),
        ("a:b", None),
    ];
    for (token, expected) in cases {
        assert_eq!(secret_of(token).ok(), expected, "{token}");
    }
    let dir = Dir::new();
    let pki =
        Pki::load_or_create(PkiOptions { token: Some("swordfish".into()), ..options(&dir) }, now()).expect("start");
    assert!(pki.join_token().to_string().ends_with("::server:swordfish"));
}
