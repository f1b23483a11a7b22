"""What programs do with the `kubernetes` package; the argument is the namespace to do it in."""

import sys
import threading
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

namespace = sys.argv[1]
config.load_kube_config()
core, apps = client.CoreV1Api(), client.AppsV1Api()


def expect(condition, what):
    if not condition:
        raise SystemExit(f"not so: {what}")


def until(what, check, seconds=60):
    end = time.time() + seconds
    while not check():
        expect(time.time() < end, what)
        time.sleep(0.1)


# A watch that is open before anything happens.
seen = []


def follow():
    for event in watch.Watch().stream(core.list_namespaced_config_map, namespace, timeout_seconds=60):
        item = event["object"]
        if item.metadata.name == "settings":
            seen.append((event["type"], (item.data or {}).get("a")))
        if event["type"] == "DELETED":
            return


watcher = threading.Thread(target=follow, daemon=True)
watcher.start()

body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings", labels={"kind": "test"}), data={"a": "1"})
created = core.create_namespaced_config_map(namespace, body)
expect(created.metadata.uid and created.metadata.resource_version, "a created object has a uid and a version")
try:
    core.create_namespaced_config_map(namespace, body)
    expect(False, "a second creation fails")
except ApiException as error:
    expect(error.status == 409 and "AlreadyExists" in error.body, "a second creation is 409 AlreadyExists")

core.patch_namespaced_config_map("settings", namespace, {"data": {"a": "2"}})
created.data = {"a": "3"}
try:
    core.replace_namespaced_config_map("settings", namespace, created)
    expect(False, "an old version cannot be replaced")
except ApiException as error:
    expect(error.status == 409 and "Conflict" in error.body, "an old version is 409 Conflict")
found = core.list_namespaced_config_map(namespace, label_selector="kind=test")
expect([item.data for item in found.items] == [{"a": "2"}], "the label selects one, as patched")
pages = core.list_namespaced_config_map(namespace, limit=1)
expect(len(pages.items) == 1 and pages.metadata._continue, "a limited list goes on")
rest = core.list_namespaced_config_map(namespace, limit=10, _continue=pages.metadata._continue)
expect(len(rest.items) == 1 and rest.items[0].metadata.name != pages.items[0].metadata.name, "and has each item once")

core.delete_namespaced_config_map("settings", namespace)
watcher.join(30)
expect(seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")], f"the watch saw all of it: {seen}")

pod = {
    "metadata": {"name": "worker"},
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "busybox:1.36",
                "command": ["sh", "-c", "trap 'exit 0' TERM; for i in 1 2 3; do echo line $i; done; sleep 3600 & wait"],
            }
        ]
    },
}
core.create_namespaced_pod(namespace, pod)
until("the pod runs", lambda: core.read_namespaced_pod("worker", namespace).status.phase == "Running")
until("it has logged", lambda: core.read_namespaced_pod_log("worker", namespace) == "line 1\nline 2\nline 3\n")
expect(core.read_namespaced_pod_log("worker", namespace, tail_lines=1) == "line 3\n", "the last line of the log")

run = core.connect_get_namespaced_pod_exec
output = stream(run, "worker", namespace, command=["sh", "-c", "echo out; echo err >&2"], stdout=True, stderr=True)
expect(sorted(output.split()) == ["err", "out"], f"both streams of a command: {output!r}")
session = stream(run, "worker", namespace, command=["sh"], stdin=True, stdout=True, stderr=True, _preload_content=False)
session.write_stdin("echo $((6*7)); exit 5\n")
session.run_forever(timeout=20)
expect(session.read_stdout().strip() == "42", "input reaches a command")
expect(session.returncode == 5, f"its exit code is known: {session.returncode}")

deployment = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx:1.25", "ports": [{"containerPort": 80}]}]},
        },
    },
}
apps.create_namespaced_deployment(namespace, deployment)
apps.patch_namespaced_deployment_scale("web", namespace, {"spec": {"replicas": 2}})
until("two replicas", lambda: apps.read_namespaced_deployment_status("web", namespace).status.ready_replicas == 2)
expect(apps.read_namespaced_deployment_scale("web", namespace).spec.replicas == 2, "the scale says two")
page = core.connect_get_namespaced_pod_proxy(
    core.list_namespaced_pod(namespace, label_selector="app=web").items[0].metadata.name + ":80", namespace
)
expect("Welcome to nginx!" in page, "a pod through the proxy")

# The dynamic client finds kinds by discovery, and applies on the server.
found = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="Secret")
secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "dynamic"}, "stringData": {"k": "v"}}
found.server_side_apply(body=secret, namespace=namespace, field_manager="tests")
expect(found.get(name="dynamic", namespace=namespace).data["k"] == "dg==", "a Secret by the dynamic client")

apps.delete_namespaced_deployment("web", namespace, propagation_policy="Foreground")
until("no pods of it", lambda: not core.list_namespaced_pod(namespace, label_selector="app=web").items)
expect(client.VersionApi().get_code().git_version.startswith("v1.36"), "the version")
core.delete_namespaced_pod("worker", namespace, grace_period_seconds=0)
