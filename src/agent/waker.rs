//! Waking a worker, from wherever something happened that concerns it.

use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// Cheap to clone. Wake-ups are not counted: a worker that was woken looks at everything.
#[derive(Clone, Default)]
pub struct Waker(Arc<Notify>);

impl Waker {
    pub fn wake(&self) {
        self.0.notify_one();
    }

    pub async fn woken(&self) {
        self.0.notified().await;
    }

    /// For those who should not keep it alive.
    pub fn weak(&self) -> WeakWaker {
        WeakWaker(Arc::downgrade(&self.0))
    }
}

pub struct WeakWaker(Weak<Notify>);

impl WeakWaker {
    /// False when nobody can be woken any more.
    pub fn wake(&self) -> bool {
        self.0.upgrade().map(|notify| notify.notify_one()).is_some()
    }
}
