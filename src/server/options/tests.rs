use super::*;

fn args(list: &[(&str, &str)]) -> ServerArgs {
    let text: String = list.iter().map(|(key, value)| format!("{key}: \"{value}\"\n")).collect();
    let mut args = ServerArgs {
        node: NodeArgs { node_ip: Some("192.0.2.7".into()), node_name: Some("one".into()), ..NodeArgs::default() },
        ..ServerArgs::default()
    };
    config::fill(config::settings(&mut args), Path::new("test.yaml"), &text).expect("known keys");
    for (key, value) in list.iter().filter(|(key, _)| key.starts_with("node-")) {
        match *key {
            "node-ip" => args.node.node_ip = Some(value.to_string()),
            "node-name" => args.node.node_name = Some(value.to_string()),
            _ => {}
        }
    }
    args
}

/// Without the file of the machine the tests run on.
fn resolve(args: ServerArgs) -> Result<ServerOptions, OptionsError> {
    ServerArgs { node: NodeArgs { config: Some("/dev/null".into()), ..args.node }, ..args }.resolve()
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let options = resolve(args(&[])).expect("defaults");
    assert_eq!(options.node.data_dir, Path::new("/var/lib/mk8s"));
    assert_eq!(options.write_kubeconfig, Path::new("/etc/mk8s/mk8s.yaml"));
    assert_eq!(options.write_kubeconfig_mode, 0o600);
    assert_eq!(options.bind_address.to_string(), "0.0.0.0");
    assert_eq!(options.https_listen_port, 6443);
    assert_eq!(
        (options.cluster_cidr.to_string(), options.service_cidr.to_string()),
        ("10.42.0.0/16".into(), "10.43.0.0/16".into())
    );
    assert_eq!(
        (options.service_ip().to_string(), options.cluster_dns.to_string()),
        ("10.43.0.1".into(), "10.43.0.10".into())
    );
    assert_eq!(options.service_node_port_range, 30000..=32767);
    assert_eq!(options.token_issuer(), "https://kubernetes.default.svc.cluster.local");
    assert!(!options.disable_agent);
    assert_eq!(options.event_ttl.as_secs(), 3600);
    assert_eq!(options.node.log_format, LogFormat::Text);
}

#[test]
fn values_follow_each_other() {
    let options = resolve(args(&[
        ("service-cidr", "10.96.7.9/12"),
        ("cluster-domain", "Example.org."),
        ("write-kubeconfig-mode", "0644"),
        ("disable", "flowcontrol, dns"),
        ("disable-agent", "true"),
        ("node-label", "a=b,example.com/c="),
        ("tls-san", "*.example.org,203.0.113.4"),
        ("event-ttl", "1h30m"),
    ]));
    let options = options.expect("good values");
    assert_eq!(options.service_cidr.to_string(), "10.96.0.0/12");
    assert_eq!(options.cluster_dns.to_string(), "10.96.0.10");
    assert_eq!(options.event_ttl.as_secs(), 5400);
    assert_eq!(options.cluster_domain, "example.org");
    assert_eq!(options.write_kubeconfig_mode, 0o644);
    assert_eq!(options.disable, ["flowcontrol", "dns"]);
    assert!(options.disable_agent);
    assert_eq!(options.node.node_labels, [("a".into(), "b".into()), ("example.com/c".into(), String::new())]);
    assert_eq!(options.tls_sans, ["*.example.org", "203.0.113.4"]);
}

#[test]
fn bad_values_name_flag_value_and_remedy() {
    let cases = [
        (
            ("cluster-cidr", "10.43.0.0/8"),
            r#"--service-cidr "10.43.0.0/16": overlaps with --cluster-cidr 10.43.0.0/8"#,
            "apart",
        ),
        (("cluster-cidr", "nonsense"), r#"--cluster-cidr "nonsense": "#, "use a network such as 10.42.0.0/16"),
        (("cluster-cidr", "192.0.0.0/8"), "contains this node's address 192.0.2.7", "not in use here"),
        (("cluster-cidr", "10.42.0.0/25"), "is smaller than the network of one node (/24)", "/24 or shorter"),
        (("service-cidr", "10.43.0.0/30"), "has too few addresses", "/28 or shorter"),
        (("service-cidr", "11.0.0.0/8"), "has more addresses than can be handed out", "/12 or longer"),
        (("service-cidr", "fd00::/112"), "is of another IP family than --cluster-cidr", "same for both"),
        (("https-listen-port", "0"), r#"--https-listen-port "0": "#, "1 to 65535"),
        (("https-listen-port", "70000"), r#"--https-listen-port "70000": "#, "1 to 65535"),
        (("https-listen-port", "http"), r#"--https-listen-port "http": "#, "1 to 65535"),
        (("cluster-dns", "10.42.0.10"), "is not in --service-cidr 10.43.0.0/16", "use an address of that network"),
        (("cluster-dns", "10.43.0.1"), "is taken by the kubernetes Service", "another address"),
        (("service-node-port-range", "30000"), "is not a range", "30000-32767"),
        (("service-node-port-range", "5-4"), "begins above its end", "30000-32767"),
        (("write-kubeconfig-mode", "abc"), r#"--write-kubeconfig-mode "abc": "#, "600 or 644"),
        (("log-format", "xml"), r#"--log-format "xml": is no format"#, "text or json"),
        (("node-name", "My_Node"), r#"--node-name "My_Node": "#, "lower case"),
        (("node-ip", "127.0.0.1"), "is a loopback address", "reach this machine"),
        (("node-ip", "0.0.0.0"), "is not the address of a machine", "reach this machine"),
        (("tls-san", "a b"), "is neither an address nor a host name", ""),
        (("node-label", "x"), "has no value", "KEY=VALUE"),
        (("disable-agent", "maybe"), r#"--disable-agent "maybe": "#, "true or false"),
        (("container-runtime-endpoint", "containerd"), "is not a socket", "unix:///run"),
        (("data-dir", ""), r#"--data-dir "": is empty"#, "give a path"),
        (("token", " "), r#"--token " ": is empty"#, "have one made"),
    ];
    for (setting, message, remedy) in cases {
        let error = resolve(args(&[setting])).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
        assert!(error.contains(remedy), "{error}");
    }
}

#[test]
fn the_file_fills_what_flags_leave() {
    let text =
        "cluster-cidr: 10.1.0.0/16\ntls-san: [a.example, b.example]\nhttps-listen-port: 7443\ndisable-agent: true\n";
    let mut args = ServerArgs { cluster_cidr: Some("10.2.0.0/16".into()), ..args(&[]) };
    config::fill(config::settings(&mut args), Path::new("c.yaml"), text).expect("good file");
    assert_eq!(args.cluster_cidr.as_deref(), Some("10.2.0.0/16"));
    assert_eq!(args.https_listen_port.as_deref(), Some("7443"));
    assert_eq!(args.tls_san, ["a.example", "b.example"]);
    let mut flagged = ServerArgs { tls_san: vec!["flag.example".into()], ..ServerArgs::default() };
    config::fill(config::settings(&mut flagged), Path::new("c.yaml"), text).expect("good file");
    assert_eq!(flagged.tls_san, ["flag.example"]);
}

#[test]
fn bad_files_are_explained() {
    let cases = [
        ("cluster_cidr: x", r#"--config c.yaml: unknown key "cluster_cidr"; did you mean cluster-cidr?"#),
        ("nonsense-key: x", r#"unknown key "nonsense-key"; known keys are data-dir, node-name"#),
        ("token: [a, b]", "token: one value is expected, found a list"),
        ("disable: {a: b}", "disable: a list of values is expected, found a mapping"),
        ("config: other.yaml", r#"unknown key "config""#),
        ("- a", "is not a list of `key: value` lines"),
        ("a: [", "is not YAML"),
    ];
    for (text, message) in cases {
        let error = config::fill(config::settings(&mut ServerArgs::default()), Path::new("c.yaml"), text)
            .expect_err(message)
            .to_string();
        assert!(error.contains(message), "{error}");
    }
    let error = ServerArgs {
        node: NodeArgs { config: Some("/nowhere/c.yaml".into()), ..NodeArgs::default() },
        ..ServerArgs::default()
    }
    .resolve()
    .expect_err("missing")
    .to_string();
    assert!(error.starts_with("--config /nowhere/c.yaml: cannot be read"), "{error}");
}

#[test]
fn authorizers_are_asked_in_the_order_that_is_given() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("webhook.yaml");
    let text = "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n\
                clusters: [{name: k, cluster: {server: 'https://a'}}]\n";
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("text");
    let config = dir.path().join("authorization.yaml");
    let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n\
                authorizers: [{type: RBAC, name: rbac}, {type: Node, name: node}]\n";
    std::fs::write(&config, text).expect("written");
    let config = config.to_str().expect("text");
    let (mode, webhook) = ("authorization-mode", "authorization-webhook-config-file");
    type Case<'a> = (&'a [(&'a str, &'a str)], Result<&'a str, &'a str>);
    let cases: [Case<'_>; 14] = [
        (&[], Ok("Node RBAC")),
        (&[(mode, "RBAC,Node")], Ok("RBAC Node")),
        (&[(mode, "AlwaysAllow")], Ok("AlwaysAllow")),
        (&[(mode, "Node,Webhook,RBAC"), (webhook, file)], Ok("Node Webhook RBAC")),
        (&[(mode, "Webhook"), (webhook, file), ("authorization-webhook-version", "v1")], Ok("Webhook")),
        (&[(mode, "Webhook")], Err("--authorization-webhook-config-file is needed")),
        (&[(webhook, file)], Err("cannot be specified without mode Webhook")),
        (&[(mode, "RBAC,RBAC")], Err("is specified more than once")),
        (&[(mode, "ABAC")], Err("is not supported")),
        (&[(mode, "rbac")], Err("is not a valid mode")),
        (&[(mode, "Webhook"), (webhook, "/nowhere")], Err("\"/nowhere\": cannot be read")),
        (&[("authorization-config", config)], Ok("RBAC Node")),
        (&[("authorization-config", config), (mode, "RBAC")], Err("can not be specified when --authorization-mode")),
        (&[("authorization-config", file)], Err("failed to load AuthorizationConfiguration from file: unknown field")),
    ];
    for (settings, expected) in cases {
        let resolved = resolve(args(settings)).map(|options| options.authorizers);
        match (resolved, expected) {
            (Ok(authorizers), Ok(expected)) => {
                let kinds: Vec<_> = authorizers.iter().map(|authorizer| authorizer.kind()).collect();
                assert_eq!(kinds.join(" "), expected);
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (resolved, expected) => panic!("{settings:?}: {resolved:?}, not {expected:?}"),
        }
    }
    let wrong = [
        ("authentication-token-webhook-version", "v2", "use v1 or v1beta1"),
        ("authentication-token-webhook-cache-ttl", "-1s", "is negative"),
        ("authorization-webhook-cache-authorized-ttl", "5", "missing unit in duration"),
    ];
    for (key, value, expected) in wrong {
        let error = resolve(args(&[(key, value)])).expect_err(key).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let options = resolve(args(&[("authentication-token-webhook-config-file", file)])).expect("good");
    assert_eq!(options.token_webhook.expect("there").cache_ttl, std::time::Duration::from_secs(120));
}

#[test]
fn issuers_come_from_flags_or_from_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
    let issuer =
        "jwt: [{issuer: {url: 'https://a', audiences: [b]}, claimMappings: {username: {claim: sub, prefix: ''}}}]\n";
    let good = write("good", &format!("{head}{issuer}anonymous: {{enabled: true, conditions: [{{path: /livez}}]}}\n"));
    let plain = write("plain", &format!("{head}{issuer}"));
    let bad = write("bad", &format!("{head}jwt: [{{}}]\n"));
    let (file, url, client) = ("authentication-config", "oidc-issuer-url", "oidc-client-id");
    let flags =
        resolve(args(&[(url, "https://i"), (client, "c"), ("oidc-groups-claim", "g"), ("oidc-required-claim", "a=b")]));
    let flags = flags.expect("good flags").oidc;
    let jwt = &flags.configuration.jwt[0];
    assert_eq!(jwt.claim_mappings.username.prefix.as_deref(), Some("https://i#"));
    assert_eq!(jwt.claim_mappings.groups.prefix.as_deref(), Some(""));
    assert_eq!((jwt.claim_validation_rules[0].claim.as_str(), flags.signing_algs), ("a", vec!["RS256".to_owned()]));
    let options = resolve(args(&[(file, &good)])).expect("a good file");
    assert_eq!((options.oidc.signing_algs.len(), options.anonymous.allows("/livez")), (9, true));
    assert!(!options.anonymous.allows("/version"));
    let anonymous = |settings: &[(&str, &str)]| resolve(args(settings)).expect("good").anonymous.allows("/");
    assert!(anonymous(&[]) && anonymous(&[(file, &plain)]));
    assert!(!anonymous(&[("anonymous-auth", "false")]) && !anonymous(&[("authorization-mode", "AlwaysAllow")]));
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 9] = [
        (&[(file, &good), (url, "https://i")], "authentication-config file and oidc-* flags are mutually exclusive"),
        (
            &[(file, &good), ("anonymous-auth", "true")],
            "cannot be set when the file of --authentication-config has `anonymous`",
        ),
        (
            &[(file, &bad)],
            "invalid authentication configuration: [jwt[0].issuer.url: Required value, jwt[0].issuer.audiences: ",
        ),
        (&[(file, "/nowhere")], "\"/nowhere\": cannot be read"),
        (
            &[(url, "http://i"), (client, "c")],
            "jwt[0].issuer.url: Invalid value: \"http://i\": URL scheme must be https",
        ),
        (
            &[(url, "https://kubernetes.default.svc.cluster.local"), (client, "c")],
            "URL must not overlap with disallowed issuers",
        ),
        (&[(url, "https://i")], "--oidc-client-id is needed"),
        (&[(client, "c")], "--oidc-issuer-url is needed"),
        (&[(url, "https://i"), (client, "c"), ("oidc-signing-algs", "HS256")], "is not one of RS256"),
    ];
    for (settings, expected) in cases {
        let error = resolve(args(settings)).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
