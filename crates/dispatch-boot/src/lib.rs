//! Everything that a firmware asks for over HTTP.
//!
//! A [`Listener`] speaks the boot protocol (`ARCHITECTURE.md`, "The boot protocol") and asks a [`Queue`] what to
//! answer; the server implements that trait. HTTP/1 is read and written by [`http`], a loop of our own: images go
//! from the page cache to the socket by `sendfile`, their bytes are counted as they go, and a firmware's few
//! habits are met to the letter. [`stub`] makes the programs that a host without work is sent, and [`announce`] lets
//! images find the listener.

pub mod announce;
pub mod cache;
mod clients;
mod connection;
pub mod http;
mod idle;
mod listener;
pub mod neighbour;
mod protocol;
mod queue;
pub mod route;
pub mod stub;
mod transfer;

pub use announce::{AnnounceError, Announcement, Service};
pub use idle::{Programs, ProgramsError};
pub use listener::{Bind, BindError, Limits, Listener, MAX_DOWNLOADS};
pub use queue::{Asked, Image, Progress, Queue, Stop, Unavailable, Work};
