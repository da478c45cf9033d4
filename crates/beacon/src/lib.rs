//! What `beacon` does, as a library, so that tests reach every part of it; `main.rs` only adds the real
//! clock, the real network and the real file system.
//!
//! The way of one call: [`cli`] reads the command line, [`report`] gathers the report and [`host`] says who
//! we are, [`find`] looks for servers (given URL, kernel command line, [`efi`] boot variables, mDNS,
//! DNS-SD), [`call`] asks them one after the other, again and again, over [`http`] (whose names [`resolve`] looks up), and
//! [`state`] remembers from `boot` to `report` which server answered. [`app`] puts these together.
//!
//! Nothing here reads a clock, sleeps, or rolls dice by itself: see [`clock`].

#![forbid(unsafe_code)]

pub mod app;
pub mod backoff;
pub mod call;
pub mod cli;
pub mod clock;
pub mod dns;
pub mod efi;
pub mod exchange;
pub mod find;
pub mod host;
pub mod http;
pub mod report;
pub mod resolve;
pub mod root;
pub mod run_id;
pub mod state;
pub mod tell;
mod transport;
pub mod url;
