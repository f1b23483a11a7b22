//! Volumes from a provisioner that runs in the cluster, with the manifests of the NFS subdirectory provisioner. The kernel
//! of a test need not know NFS: a folder of the host stands for the file server.

mod external;

use crate::support::{client::client_with, shared, space::Space};
use external::{Provisioner, archive_of};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::ListParams};
use std::{fs, path::Path, time::Duration};
use tokio::task::JoinHandle;

const MINUTE: Duration = Duration::from_secs(60);
const NAME: &str = "k8s-sigs.io/nfs-subdir-external-provisioner";

fn manifests(root: &Path) -> String {
    include_str!("manifests.yaml").replace("/nfs/data", &root.display().to_string())
}

/// A claim, and a pod that writes into it.
fn user(name: &str, class: &str) -> String {
    format!(
        "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec: {{storageClassName: {class}, accessModes: [ReadWriteMany], resources: {{requests: {{storage: 1Mi}}}}}}
---
{}",
        pod(name)
    )
}

fn pod(name: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox:1.36
    command: [sh, -c, 'echo {name} >/mnt/SUCCESS']
    volumeMounts: [{{name: data, mountPath: /mnt}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: {name}}}}}]
"
    )
}

/// Ends with the test.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Deletes a pod and its claim, and waits until the volume has gone.
fn give_up(space: &Space<'_>, name: &str, volume: &str) {
    space.kubectl(&["delete", "pod", name]);
    space.kubectl(&["delete", "pvc", name]);
    let gone = ["get", "pv", volume, "--ignore-not-found", "-o", "name"];
    space.host.wait_for(&gone, MINUTE, str::is_empty);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_provisioner_makes_and_deletes_volumes() {
    let space = Space::new(shared(), "provisioner");
    let root = space.host.scratch("exported");
    space.apply(&manifests(&root));
    space.kubectl(&["rollout", "status", "deployment/nfs-client-provisioner", "--timeout=60s"]);
    let token = space.kubectl(&["create", "token", "nfs-client-provisioner"]);
    let client = client_with(space.host, token.trim()).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), space.name);
    let refused = secrets.list(&ListParams::default()).await.expect_err("it has the rights of its role only");
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");

    // Nobody serves the class yet.
    space.apply(&user("early", "nfs-storage"));
    space.wait_for(&["get", "events", "-o", "custom-columns=R:.reason,M:.message"], MINUTE, |events| {
        events.contains("ExternalProvisioning") && events.contains(&format!("external provisioner '{NAME}'"))
    });
    let provisioner = Provisioner { client, name: NAME, namespace: space.name, root: root.clone() };
    let lock = provisioner.lock();
    let running = Running(tokio::spawn(provisioner.run()));

    space.wait_field("pod/early", "{.status.phase}", MINUTE, |phase| phase == "Succeeded");
    let volume = space.field("pvc/early", "{.spec.volumeName}");
    assert_eq!(volume, format!("pvc-{}", space.field("pvc/early", "{.metadata.uid}")));
    assert_eq!(
        space.field(&format!("pv/{volume}"), "{.status.phase} {.spec.persistentVolumeReclaimPolicy}"),
        "Bound Delete"
    );
    let folder = root.join(format!("provisioner-early-{volume}"));
    assert_eq!(fs::read_to_string(folder.join("SUCCESS")).expect("the pod has written"), "early\n");
    let inside = space.kubectl(&["exec", "deployment/nfs-client-provisioner", "--", "ls", "/persistentvolumes"]);
    assert_eq!(inside.trim(), format!("provisioner-early-{volume}"));
    space.wait_for(&["get", "events", "-o", "custom-columns=R:.reason"], MINUTE, |events| {
        ["Provisioning", "ProvisioningSucceeded"].iter().all(|reason| events.lines().any(|line| line.trim() == *reason))
    });
    give_up(&space, "early", &volume);
    assert!(!folder.exists());
    assert_eq!(fs::read_to_string(archive_of(&folder).join("SUCCESS")).expect("it is archived"), "early\n");

    // A class that waits: the pod's node is chosen first, and told to the provisioner.
    space.apply(user("late", "nfs-first-consumer").split("---").next().expect("the claim"));
    space.wait_for(&["get", "events", "-o", "custom-columns=R:.reason"], MINUTE, |events| {
        events.contains("WaitForFirstConsumer")
    });
    assert_eq!(space.field("pvc/late", "{.status.phase}{.metadata.annotations}").split('{').next(), Some("Pending"));
    space.apply(&pod("late"));
    space.wait_field("pod/late", "{.status.phase}", MINUTE, |phase| phase == "Succeeded");
    let node = space.field("pvc/late", r"{.metadata.annotations.volume\.kubernetes\.io/selected-node}");
    assert_eq!(node, space.host.name);
    let volume = space.field("pvc/late", "{.spec.volumeName}");
    let folder = root.join(format!("provisioner-late-{volume}"));
    assert_eq!(fs::read_to_string(folder.join("SUCCESS")).expect("the pod has written"), "late\n");
    give_up(&space, "late", &volume);
    assert!(!folder.exists() && !archive_of(&folder).exists(), "this class archives nothing");

    // The lock is an Endpoints object without a Service: it stays, and is nobody's endpoints.
    let leader = space
        .field(&format!("endpoints/{lock}"), r"{.metadata.annotations.control-plane\.alpha\.kubernetes\.io/leader}");
    assert!(leader.contains("\"holderIdentity\":\"one\""), "{leader}");
    let slices = space.kubectl(&["get", "endpointslices", "-o", "name"]);
    assert!(!slices.contains(&lock), "{slices}");
    assert!(!running.0.is_finished(), "the provisioner has failed");
    for object in [
        "storageclass/nfs-storage",
        "storageclass/nfs-first-consumer",
        "clusterrole/nfs-client-provisioner-runner",
        "clusterrolebinding/run-nfs-client-provisioner",
    ] {
        space.host.kubectl(&["delete", object]);
    }
}
