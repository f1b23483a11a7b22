//! Generated objects, whole.

use super::*;
use clap::Parser;
use expect_test::{Expect, expect};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    create: Create,
}

fn check(text: &str, expected: &Expect) {
    let line = Line::parse_from(std::iter::once("create").chain(text.split(' ')));
    let generator = line.create.generator.expect("a generator");
    let object = match &generator {
        Generator::Namespace(with) => with.generator.generate(),
        Generator::Deployment(with) => with.generator.generate(),
        Generator::ConfigMap(with) => with.generator.generate(),
        Generator::Secret { kind: Secret::Generic(with) } => with.generator.generate(),
        Generator::Secret { kind: Secret::DockerRegistry(with) } => with.generator.generate(),
        Generator::Service { kind: Service::ClusterIp(with) } => with.generator.generate(),
        Generator::Service { kind: Service::NodePort(with) } => with.generator.generate(),
        Generator::Service { kind: Service::ExternalName(with) } => with.generator.generate(),
        Generator::CronJob(with) => with.generator.generate(),
        Generator::Job(with) => with.generator.generate(),
        Generator::Ingress(with) => with.generator.generate(),
        Generator::Quota(with) => with.generator.generate(),
        Generator::RoleBinding(with) => with.generator.generate(),
        other => panic!("{other:?}"),
    };
    let text = match object {
        Ok(object) => printers::yaml::to_yaml(&object),
        Err(error) => format!("error: {error}\n"),
    };
    expected.assert_eq(&text);
}

#[test]
fn deployment() {
    check("deployment web --image=docker.io/library/nginx:1.27 --replicas=3 --port=80", &expect![[""]]);
}

#[test]
fn config() {
    check("configmap a --from-literal=k=v --from-literal=n=1", &expect![[""]]);
    check("secret generic s --from-literal=k=v --type=my/type", &expect![[""]]);
    check("secret docker-registry x --docker-username=u --docker-password=p --docker-email=e", &expect![[""]]);
}

#[test]
fn services() {
    check("service clusterip s --tcp=80:8080", &expect![[""]]);
    check("svc nodeport s --tcp=80 --node-port=30001", &expect![[""]]);
    check("service externalname s --external-name=a.com", &expect![[""]]);
    check("service clusterip s --tcp=99999:1", &expect![[""]]);
}

#[test]
fn batch() {
    check("cronjob c --image=i --schedule=@hourly -- date -u", &expect![[""]]);
    check("job j --image=i", &expect![[""]]);
}

#[test]
fn others() {
    check("ns x", &expect![[""]]);
    check("quota q --hard=cpu=1,pods=2", &expect![[""]]);
    check("rolebinding rb --clusterrole=view --serviceaccount=default:x", &expect![[""]]);
    check("ingress i --rule=foo.com/bar*=svc1:8080,tls=my-cert --rule=foo.com/=svc2:http --class=c", &expect![[""]]);
    check("ingress i --rule=foo", &expect![[""]]);
}
