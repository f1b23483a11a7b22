//! How the rooms of mk8s speak to the API: as clients, with nothing a client elsewhere could not do.
//!
//! Reading order: [`connect`] (where a [`kube::Client`] comes from), [`servers`] (whom it talks to), [`informer`] (what a process
//! knows of the cluster, decoded once), [`pod`] (what control loops keep of pods), [`queue`] (which keys need work, and
//! the workers that do it), [`events`] (what is told to people), [`feed`] (changes in order for owners that keep their own
//! picture), [`join_token`] (what lets a machine join), [`spdy`] (frames of streams to servers that speak nothing newer).
//!
//! Invariant: an object in an informer is shared and never changed; who wants another one clones it.
//! Invariant: a key is worked on by one worker at a time, and a key that changed meanwhile is worked on again.
//! Invariant: handlers of changes never wait; they put keys in queues.
//! Absent: knowledge of the store, of the server's inside, or of any one kind's behaviour.

pub mod connect;
pub mod events;
pub mod feed;
pub mod informer;
pub mod join_token;
pub mod key;
pub mod pod;
pub mod queue;
pub mod servers;
pub mod spdy;

pub use connect::Identity;
pub use events::EventRecorder;
pub use informer::{Change, Informer, Informers, Kind, Selection};
pub use join_token::JoinToken;
pub use key::Key;
pub use kube;
pub use queue::{Outcome, WorkQueue, run_workers};
pub use servers::Servers;
