//! What tests need, and the demo.
//!
//! * [`firmware`] is a client that asks as a firmware does, in milliseconds instead of half a minute.
//! * [`program`] is a `dispatch` process as a test sees it: its arguments, its log, its sudden end.
//! * [`github`] is a GitHub of our own, with a model that tests change and read, and trouble on demand.
//! * [`lab`] is one virtual server with real firmware, and the images for it.
//! * [`postgres`] is a real PostgreSQL, which the tests of one run share.
//! * [`rig`] puts a `dispatch` process and a virtual server together, and plays the person beside them.
//! * [`s3`] is a real S3 server on loopback.

pub mod firmware;
pub mod github;
pub mod lab;
pub mod nginx;
pub mod postgres;
pub mod program;
pub mod rig;
pub mod s3;
