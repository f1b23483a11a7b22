//! The language of the API: what objects are, pure and without I/O.
//!
//! An object is JSON under a schema, built-in or not. This crate knows which kinds there are, what their objects look like,
//! how they are patched, selected, defaulted and validated, and how all of it is described to clients.
//!
//! Reading order: `kinds` (the table everything starts from), `schema` (types and what walks beside them), `decode` (request
//! bodies), `patch`, `apply` (who owns which field), `rules` (what a schema cannot say), `cel` (what authors of rules and
//! policies say), `conversion`, `crd` (kinds that clients define), `golang` (values as Go shows them in messages); then
//! `discovery` and `openapi`, which only describe, and `protobuf`, the other text that objects have.
//! `status`, `field`, `at`, `meta`, `names`, `quantity`, `duration` and `select` are the small words used everywhere; `cron` (schedules),
//! `zones` (their time zones), `topology` (where nodes are), `quota` (what objects count for) and `signing_request` (what asks for a certificate) are what server and control
//! loops must understand alike, `exposition` what `/metrics` is written with, and `url` how URLs of servers are checked.
//!
//! Invariant: no I/O (but for `zones`, which reads the machine's time zones), no clock, no randomness that is not passed in; nothing here blocks.
//! Invariant: bad input is an error value, never a panic.
//! Invariant: no kind is described twice; schemas come from k8s-openapi and one table of additions.

pub mod apply;
pub mod cel;
pub mod conversion;
pub mod crd;
pub mod decode;
pub mod device_taints;
pub mod discovery;
pub mod kinds;
pub mod openapi;
pub mod protobuf;
pub mod schema;

pub mod at;
pub mod cron;
pub mod duration;
pub mod exposition;
pub mod field;
pub mod golang;
pub mod json_path;
pub mod meta;
pub mod names;
pub mod patch;
pub mod quantity;
pub mod quota;
pub mod rules;
pub mod select;
pub mod signing_request;
pub mod status;
pub mod taints;
pub mod topology;
pub mod url;
pub mod version;
pub mod zones;
