//! Containers' logs in the format of CRI: `2026-11-21T08:00:00.000000000Z stdout F text`, one line an entry, `P` for a part
//! that goes on in the next entry.

mod line;
mod read;
mod rotate;

pub use line::{Line, Stream, parse};
pub use read::{Options, Reader};
pub use rotate::rotate_forever;
