use super::plan::{Action, filled, is_for, plan};
use crate::common::fixtures::one;
use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};

const ACCOUNT: &str = "{kind: ServiceAccount, metadata: {name: web, namespace: shop, uid: u1}}";

fn secret(annotations: &str, data: &str) -> Secret {
    one(&format!(
        "{{kind: Secret, type: kubernetes.io/service-account-token, \
           metadata: {{name: key, namespace: shop, annotations: {{{annotations}}}}}, data: {{{data}}}}}"
    ))
}

fn check(secret: &Secret, ca: &str, expected: Expect) {
    let account = Some(one::<ServiceAccount>(ACCOUNT)).filter(|account| is_for(secret, account));
    let action = plan(secret, account.as_ref(), ca);
    let mut text = format!("{action:?}\n");
    if let (Some(Action::Fill(missing)), Some(account)) = (action, account) {
        let filled = filled(secret, &account, missing, ca, || Ok("signed".to_owned())).expect("nothing fails");
        let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        filled.data.iter().flatten().for_each(|(key, value)| text += &format!("{key}: {}\n", plain(&value.0)));
        filled.metadata.annotations.iter().flatten().for_each(|(key, value)| text += &format!("{key}={value}\n"));
        assert_eq!(plan(&filled, Some(&account), ca), None, "what is filled needs nothing");
    }
    expected.assert_eq(&text);
}

const NAME: &str = "kubernetes.io/service-account.name: web";
const RIGHT: &str = "kubernetes.io/service-account.name: web, kubernetes.io/service-account.uid: u1";
const WRONG: &str = "kubernetes.io/service-account.name: web, kubernetes.io/service-account.uid: u0";

#[test]
fn secrets_get_a_token_the_ca_and_their_namespace() {
    check(
        &secret(NAME, ""),
        "CA",
        expect![[r#"
            Some(Fill(Missing { ca: true, namespace: true, token: true }))
            ca.crt: CA
            namespace: shop
            token: signed
            kubernetes.io/service-account.name=web
            kubernetes.io/service-account.uid=u1
        "#]],
    );
}

#[test]
fn what_a_secret_has_it_keeps_but_for_another_ca() {
    // base64 of "mine", "other" and "old".
    check(
        &secret(RIGHT, "token: bWluZQ==, namespace: b3RoZXI=, ca.crt: b2xk, more: bWluZQ=="),
        "CA",
        expect![[r#"
            Some(Fill(Missing { ca: true, namespace: false, token: false }))
            ca.crt: CA
            more: mine
            namespace: other
            token: mine
            kubernetes.io/service-account.name=web
            kubernetes.io/service-account.uid=u1
        "#]],
    );
    check(&secret(RIGHT, "token: bWluZQ==, namespace: b3RoZXI=, ca.crt: b2xk"), "old", expect![["None\n"]]);
    check(&secret(NAME, "token: bWluZQ==, namespace: b3RoZXI="), "", expect![["None\n"]]);
}

#[test]
fn secrets_of_no_account_go() {
    check(&secret(WRONG, "token: bWluZQ=="), "CA", expect![["Some(Delete)\n"]]);
    check(&secret("kubernetes.io/service-account.name: other", ""), "CA", expect![["Some(Delete)\n"]]);
}
