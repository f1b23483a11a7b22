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
    check(
        "deployment web --image=docker.io/library/nginx:1.27 --replicas=3 --port=80",
        &expect![[r#"
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          labels:
            app: web
          name: web
        spec:
          replicas: 3
          selector:
            matchLabels:
              app: web
          strategy: {}
          template:
            metadata:
              labels:
                app: web
            spec:
              containers:
              - image: docker.io/library/nginx:1.27
                name: nginx
                ports:
                - containerPort: 80
                resources: {}
        status: {}
    "#]],
    );
}

#[test]
fn config() {
    check(
        "configmap a --from-literal=k=v --from-literal=n=1",
        &expect![[r#"
        apiVersion: v1
        data:
          k: v
          "n": "1"
        kind: ConfigMap
        metadata:
          name: a
    "#]],
    );
    check(
        "secret generic s --from-literal=k=v --type=my/type",
        &expect![[r#"
        apiVersion: v1
        data:
          k: dg==
        kind: Secret
        metadata:
          name: s
        type: my/type
    "#]],
    );
    check(
        "secret docker-registry x --docker-username=u --docker-password=p --docker-email=e",
        &expect![[r#"
        apiVersion: v1
        data:
          .dockerconfigjson: eyJhdXRocyI6eyJodHRwczovL2luZGV4LmRvY2tlci5pby92MS8iOnsidXNlcm5hbWUiOiJ1IiwicGFzc3dvcmQiOiJwIiwiZW1haWwiOiJlIiwiYXV0aCI6ImRUcHcifX19
        kind: Secret
        metadata:
          name: x
        type: kubernetes.io/dockerconfigjson
    "#]],
    );
}

#[test]
fn services() {
    check(
        "service clusterip s --tcp=80:8080",
        &expect![[r#"
        apiVersion: v1
        kind: Service
        metadata:
          labels:
            app: s
          name: s
        spec:
          ports:
          - name: 80-8080
            port: 80
            protocol: TCP
            targetPort: 8080
          selector:
            app: s
          type: ClusterIP
        status:
          loadBalancer: {}
    "#]],
    );
    check(
        "svc nodeport s --tcp=80 --node-port=30001",
        &expect![[r#"
        apiVersion: v1
        kind: Service
        metadata:
          labels:
            app: s
          name: s
        spec:
          ports:
          - name: "80"
            nodePort: 30001
            port: 80
            protocol: TCP
            targetPort: 80
          selector:
            app: s
          type: NodePort
        status:
          loadBalancer: {}
    "#]],
    );
    check(
        "service externalname s --external-name=a.com",
        &expect![[r#"
        apiVersion: v1
        kind: Service
        metadata:
          labels:
            app: s
          name: s
        spec:
          externalName: a.com
          selector:
            app: s
          type: ExternalName
        status:
          loadBalancer: {}
    "#]],
    );
    check(
        "service clusterip s --tcp=99999:1",
        &expect![[r#"
        error: strconv.ParseUint: parsing "99999": value out of range
    "#]],
    );
}

#[test]
fn batch() {
    check(
        "cronjob c --image=i --schedule=@hourly -- date -u",
        &expect![[r#"
        apiVersion: batch/v1
        kind: CronJob
        metadata:
          name: c
        spec:
          jobTemplate:
            metadata:
              name: c
            spec:
              template:
                metadata: {}
                spec:
                  containers:
                  - command:
                    - date
                    - -u
                    image: i
                    name: c
                    resources: {}
                  restartPolicy: OnFailure
          schedule: '@hourly'
        status: {}
    "#]],
    );
    check(
        "job j --image=i",
        &expect![[r#"
        apiVersion: batch/v1
        kind: Job
        metadata:
          name: j
        spec:
          template:
            metadata: {}
            spec:
              containers:
              - image: i
                name: j
                resources: {}
              restartPolicy: Never
        status: {}
    "#]],
    );
}

#[test]
fn others() {
    check(
        "ns x",
        &expect![[r#"
        apiVersion: v1
        kind: Namespace
        metadata:
          name: x
        spec: {}
        status: {}
    "#]],
    );
    check(
        "quota q --hard=cpu=1,pods=2",
        &expect![[r#"
        apiVersion: v1
        kind: ResourceQuota
        metadata:
          name: q
        spec:
          hard:
            cpu: "1"
            pods: "2"
        status: {}
    "#]],
    );
    check(
        "rolebinding rb --clusterrole=view --serviceaccount=default:x",
        &expect![[r#"
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: rb
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: ClusterRole
          name: view
        subjects:
        - kind: ServiceAccount
          name: x
          namespace: default
    "#]],
    );
    check(
        "ingress i --rule=foo.com/bar*=svc1:8080,tls=my-cert --rule=foo.com/=svc2:http --class=c",
        &expect![[r#"
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata:
          name: i
        spec:
          ingressClassName: c
          rules:
          - host: foo.com
            http:
              paths:
              - backend:
                  service:
                    name: svc1
                    port:
                      number: 8080
                path: /bar
                pathType: Prefix
              - backend:
                  service:
                    name: svc2
                    port:
                      name: http
                path: /
                pathType: Exact
          tls:
          - hosts:
            - foo.com
            secretName: my-cert
        status:
          loadBalancer: {}
    "#]],
    );
    check(
        "ingress i --rule=foo",
        &expect![[r#"
        error: rule foo is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]
    "#]],
    );
}
