//! Brings images here from where a source says that they are, before a host is given them.
//!
//! * [`Upstream`] is where they come from.
//! * [`Images`] is what the rest of the server asks: is this image here, may it be sent, how far is it? Whoever asks
//!   for one that is not here makes it come first.
//! * [`Fetch`] is the loop that fetches. It compares what the open jobs need with what the cache has, and has the rules
//!   of `dispatch_core::fetch` decide what follows.
//!
//! However many jobs and hosts need an image, it is fetched once.

mod course;
mod download;
mod images;
mod reconcile;
mod upstream;

pub use images::{Images, Progress};
pub use reconcile::{Fetch, Settings};
pub use upstream::{Body, FetchError, Future, Upstream};

#[cfg(test)]
mod tests;
