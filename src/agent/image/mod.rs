//! Images of this node: those that come with mk8s or lie in a folder, those that pods ask for, and those nobody needs.

mod collect;
mod command;
mod credentials;
mod import;
mod pull;

pub use collect::{Candidate, collect, garbage};
pub use command::{ImageArgs, image_command};
pub use credentials::{Credentials, credentials_of};
pub use import::{ImageFailure, import_embedded, import_folder, import_seekable};
pub use pull::{Policy, Puller, Readiness, Wish};
