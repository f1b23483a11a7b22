//! Pulls: one at a time for an image, in the background, with a backoff for each pod that fails to get it.
//!
//! A pod worker asks [`Puller::ensure`]; the answer is never waited for. When a pull ends, those who asked are woken and
//! ask again.

use super::Credentials;
use crate::waker::Waker;
use mk8s_api::duration;
use mk8s_client::events::EventType;
use mk8s_cri::{CriError, Runtime, v1};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const BACKOFF_FIRST: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// What a container may do now as far as its image is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// The image is here, under this id.
    Present(String),
    /// It is being pulled; a wake-up follows.
    Pulling,
    /// It cannot be had now: a waiting reason in Kubernetes' words, its message, and when to ask again.
    Failed { reason: &'static str, message: String, retry: Option<Instant> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Always,
    IfNotPresent,
    Never,
}

/// One container's wish.
pub struct Wish {
    /// Namespace, pod and container: whose backoff it is.
    pub owner: String,
    pub image: String,
    pub policy: Policy,
    pub credentials: Vec<Credentials>,
    pub sandbox: v1::PodSandboxConfig,
    /// Told in events of the container.
    pub tell: Arc<dyn Fn(EventType, &'static str, String) + Send + Sync>,
    pub wake: Waker,
}

struct Failure {
    message: String,
    reason: &'static str,
    delay: Duration,
    until: Instant,
    /// The next answer tells of the backoff in an event.
    told: bool,
}

#[derive(Default)]
struct State {
    /// Wishes whose pull is under way, by owner.
    running: HashMap<String, ()>,
    /// Pulls that ended well and were not asked for yet.
    done: HashMap<String, String>,
    failures: HashMap<String, Failure>,
    /// One lock an image.
    serial: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Puller {
    runtime: Runtime,
    state: Arc<Mutex<State>>,
    /// Cancelled when the archives at hand are imported: until then an absent image may still come without a registry.
    imported: CancellationToken,
}

impl Puller {
    pub fn new(runtime: Runtime, imported: CancellationToken) -> Puller {
        Puller { runtime, state: Arc::default(), imported }
    }

    pub async fn ensure(&self, wish: Wish) -> Readiness {
        if !valid_name(&wish.image) {
            let message = format!(
                "Failed to apply default image tag \"{0}\": couldn't parse image name \"{0}\": invalid reference format",
                wish.image
            );
            (wish.tell)(EventType::Warning, "InspectFailed", message.clone());
            return Readiness::Failed { reason: "InvalidImageName", message, retry: None };
        }
        if let Some(id) = self.state.lock().done.remove(&wish.owner) {
            return Readiness::Present(id);
        }
        if self.state.lock().running.contains_key(&wish.owner) {
            return Readiness::Pulling;
        }
        let present = match self.runtime.image(&wish.image).await {
            Ok(image) => image.map(|image| image.id),
            Err(error) => {
                let message = format!("Failed to inspect image \"{}\": {error}", wish.image);
                (wish.tell)(EventType::Warning, "InspectFailed", message.clone());
                let retry = Some(Instant::now() + BACKOFF_FIRST);
                return Readiness::Failed { reason: "ImageInspectError", message, retry };
            }
        };
        match (wish.policy, present) {
            (Policy::Never | Policy::IfNotPresent, Some(id)) => {
                self.state.lock().failures.remove(&wish.owner);
                let message = format!(
                    "Container image \"{}\" already present on machine and can be accessed by the pod",
                    wish.image
                );
                (wish.tell)(EventType::Normal, "Pulled", message);
                Readiness::Present(id)
            }
            (Policy::Never | Policy::IfNotPresent, None) if !self.imported.is_cancelled() => self.await_import(wish),
            (Policy::Never, None) => {
                let message = format!("Container image \"{}\" is not present with pull policy of Never", wish.image);
                (wish.tell)(EventType::Warning, "ErrImageNeverPull", message.clone());
                let retry = Some(Instant::now() + BACKOFF_FIRST);
                Readiness::Failed { reason: "ErrImageNeverPull", message, retry }
            }
            _ => self.pull(wish),
        }
    }

    /// Asks again when the archives at hand are imported.
    fn await_import(&self, wish: Wish) -> Readiness {
        self.state.lock().running.insert(wish.owner.clone(), ());
        let puller = self.clone();
        tokio::spawn(async move {
            puller.imported.cancelled().await;
            puller.state.lock().running.remove(&wish.owner);
            wish.wake.wake();
        });
        Readiness::Pulling
    }

    /// Starts a pull unless a failed one is still to be waited for.
    fn pull(&self, wish: Wish) -> Readiness {
        let now = Instant::now();
        let mut state = self.state.lock();
        if let Some(failure) = state.failures.get_mut(&wish.owner)
            && failure.until > now
        {
            let (reason, message, retry) = match failure.told {
                // The first answer after the failure is the failure itself.
                false => (failure.reason, failure.message.clone(), failure.until),
                true => {
                    let message =
                        format!("Back-off pulling image \"{}\": {}: {}", wish.image, failure.reason, failure.message);
                    ("ImagePullBackOff", message, failure.until)
                }
            };
            if !std::mem::replace(&mut failure.told, true) {
                // Kubernetes shows the error for a moment, then the backoff.
                let retry = (now + Duration::from_millis(1500)).min(retry);
                return Readiness::Failed { reason, message, retry: Some(retry) };
            }
            drop(state);
            (wish.tell)(EventType::Normal, "BackOff", format!("Back-off pulling image \"{}\"", wish.image));
            return Readiness::Failed { reason, message, retry: Some(retry) };
        }
        state.running.insert(wish.owner.clone(), ());
        drop(state);
        tokio::spawn(self.clone().run(wish));
        Readiness::Pulling
    }

    async fn run(self, wish: Wish) {
        (wish.tell)(EventType::Normal, "Pulling", format!("Pulling image \"{}\"", wish.image));
        let begin = Instant::now();
        let lock = self.state.lock().serial.entry(wish.image.clone()).or_default().clone();
        let turn = lock.lock().await;
        let turn_came = Instant::now();
        let result = self.attempt(&wish).await;
        drop(turn);
        match result {
            Ok(id) => {
                let size = self.runtime.image(&wish.image).await.ok().flatten().map_or(0, |image| image.size);
                let message = format!(
                    "Successfully pulled image \"{}\" in {} ({} including waiting). Image size: {size} bytes.",
                    wish.image,
                    go_duration(turn_came.elapsed()),
                    go_duration(begin.elapsed()),
                );
                (wish.tell)(EventType::Normal, "Pulled", message);
                let mut state = self.state.lock();
                state.failures.remove(&wish.owner);
                state.done.insert(wish.owner.clone(), id);
                state.running.remove(&wish.owner);
            }
            Err(error) => {
                let text = format!("failed to pull image \"{}\": {}", wish.image, error.description());
                let full = match &error {
                    CriError::Rpc { .. } => error.to_string(),
                    _ => text,
                };
                (wish.tell)(EventType::Warning, "Failed", format!("Failed to pull image \"{}\": {full}", wish.image));
                (wish.tell)(EventType::Warning, "Failed", "Error: ErrImagePull".to_owned());
                self.failed(&wish.owner, full);
            }
        }
        wish.wake.wake();
    }

    /// With each of the credentials, or with none.
    async fn attempt(&self, wish: &Wish) -> Result<String, CriError> {
        let mut last = None;
        for credentials in &wish.credentials {
            let auth = Some(credentials.clone().into());
            match self.runtime.pull_image(&wish.image, auth, Some(wish.sandbox.clone())).await {
                Ok(id) => return Ok(id),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error),
            None => self.runtime.pull_image(&wish.image, None, Some(wish.sandbox.clone())).await,
        }
    }

    fn failed(&self, owner: &str, message: String) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let before = state.failures.get(owner).map(|failure| failure.delay);
        let delay = before.map_or(BACKOFF_FIRST, |delay| (delay * 2).min(BACKOFF_MAX));
        let failure = Failure { message, reason: "ErrImagePull", delay, until: now + delay, told: false };
        state.failures.insert(owner.to_owned(), failure);
        state.running.remove(owner);
    }

    /// Forgets what concerns a pod that is gone; owners begin with its uid.
    pub fn forget(&self, uid: &str) {
        let mut state = self.state.lock();
        state.done.retain(|owner, _| !owner.starts_with(uid));
        state.failures.retain(|owner, _| !owner.starts_with(uid));
    }
}

fn valid_name(image: &str) -> bool {
    let body = image.split('@').next().unwrap_or_default();
    let (path, tag) = match body.rfind(':').filter(|colon| !body[*colon..].contains('/')) {
        Some(colon) => (&body[..colon], Some(&body[colon + 1..])),
        None => (body, None),
    };
    let tag_ok = tag.is_none_or(|tag| {
        !tag.is_empty() && tag.len() <= 128 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    });
    let host_like = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    let repository = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    let mut parts = path.split('/').peekable();
    let mut first = true;
    let mut path_ok = !path.is_empty();
    while let Some(part) = parts.next() {
        let ok = repository(part) || (first && parts.peek().is_some() && !part.is_empty() && host_like(part));
        path_ok &= ok;
        first = false;
    }
    path_ok && tag_ok
}

/// As Kubernetes tells how long a pull took: to the millisecond.
fn go_duration(took: Duration) -> String {
    duration::text_of(Duration::from_millis(took.as_millis().try_into().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_are_checked() {
        for (name, good) in [
            ("nginx", true),
            ("nginx:1.25", true),
            ("docker.io/mk8s/hello:1", true),
            ("localhost:5000/a/b:x", true),
            ("a@sha256:12", true),
            ("", false),
            ("NGINX", false),
            ("nginx:", false),
            ("a//b", false),
            ("a b", false),
        ] {
            assert_eq!(valid_name(name), good, "{name:?}");
        }
    }

    #[test]
    fn durations_look_like_gos() {
        for (ms, text) in [(85, "85ms"), (1234, "1.234s"), (2000, "2s"), (123_500, "2m3.5s")] {
            assert_eq!(go_duration(Duration::from_millis(ms)), text);
        }
    }
}
