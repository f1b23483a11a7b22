// What programs do with @kubernetes/client-node; the argument is the namespace to do it in.
import assert from 'node:assert/strict';
import { PassThrough, Readable } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const namespace = process.argv[2];
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);

async function until(what, check) {
    const end = Date.now() + 60000;
    while (!(await check())) {
        assert(Date.now() < end, what);
        await new Promise((done) => setTimeout(done, 100));
    }
}

function collected() {
    const stream = new PassThrough();
    const all = { stream, text: '' };
    stream.on('data', (part) => (all.text += part));
    return all;
}

// A watch that is open before anything happens.
const seen = [];
const path = `/api/v1/namespaces/${namespace}/configmaps`;
const watching = await new k8s.Watch(config).watch(
    path,
    { fieldSelector: 'metadata.name=settings' },
    (phase, object) => seen.push(`${phase} ${object.data.a}`),
    () => {},
);

const body = { metadata: { name: 'settings' }, data: { a: '1' } };
const created = await core.createNamespacedConfigMap({ namespace, body });
assert(created.metadata.uid);
await assert.rejects(core.createNamespacedConfigMap({ namespace, body }), (error) => error.code === 409);
await core.patchNamespacedConfigMap(
    { namespace, name: 'settings', body: [{ op: 'replace', path: '/data/a', value: '2' }] },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch),
);
await core.patchNamespacedConfigMap(
    { namespace, name: 'settings', body: { data: { b: 'x' } } },
    k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch),
);
const list = await core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=settings' });
assert.deepEqual(list.items[0].data, { a: '2', b: 'x' });
await core.deleteNamespacedConfigMap({ namespace, name: 'settings' });
await until('the watch saw all of it', () => seen.length >= 4);
assert.deepEqual(seen, ['ADDED 1', 'MODIFIED 2', 'MODIFIED 2', 'DELETED 2']);
watching.abort();

await core.createNamespacedPod({
    namespace,
    body: {
        metadata: { name: 'worker' },
        spec: {
            containers: [
                {
                    name: 'main',
                    image: 'busybox:1.36',
                    command: ['sh', '-c', "trap 'exit 0' TERM; echo started; sleep 3600 & wait"],
                },
            ],
        },
    },
});
await until('the pod runs', async () => (await core.readNamespacedPod({ namespace, name: 'worker' })).status.phase === 'Running');
await until('it has logged', async () => (await core.readNamespacedPodLog({ namespace, name: 'worker' })) === 'started\n');
const log = collected();
const following = await new k8s.Log(config).log(namespace, 'worker', 'main', log.stream, { follow: true });
await until('the log is followed', () => log.text === 'started\n');
following.abort();

const [out, err] = [collected(), collected()];
const status = await new Promise((done, failed) => {
    const input = Readable.from(['hello\n']);
    new k8s.Exec(config)
        .exec(namespace, 'worker', 'main', ['sh', '-c', 'read x; echo got $x; echo bad >&2; exit 3'], out.stream, err.stream, input, false, done)
        .catch(failed);
});
assert.equal(out.text, 'got hello\n');
assert.equal(err.text, 'bad\n');
assert.equal(status.status, 'Failure');
assert.equal(status.details.causes.find((cause) => cause.reason === 'ExitCode').message, '3');

await apps.createNamespacedDeployment({
    namespace,
    body: {
        metadata: { name: 'web' },
        spec: {
            replicas: 1,
            selector: { matchLabels: { app: 'web' } },
            template: {
                metadata: { labels: { app: 'web' } },
                spec: { containers: [{ name: 'web', image: 'nginx:1.25' }] },
            },
        },
    },
});
await until('the Deployment is available', async () => {
    const deployment = await apps.readNamespacedDeployment({ namespace, name: 'web' });
    return deployment.status?.availableReplicas === 1;
});

// An informer lists, then watches.
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/pods`, () => core.listNamespacedPod({ namespace }));
const names = new Set();
informer.on('add', (pod) => names.add(pod.metadata.name));
informer.on('delete', (pod) => names.delete(pod.metadata.name));
await informer.start();
await until('the informer has both pods', () => names.size === 2);
await apps.deleteNamespacedDeployment({ namespace, name: 'web' });
await core.deleteNamespacedPod({ namespace, name: 'worker', gracePeriodSeconds: 0 });
await until('the informer has none', () => names.size === 0);
await informer.stop();
process.exit(0);
