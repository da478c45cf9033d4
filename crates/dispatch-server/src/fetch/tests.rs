//! The loop with a real cache and a real store, an upstream that does as it is told, and a clock that stands still.

mod coming;
mod full;
mod trouble;
mod upstream;
mod world;

use upstream::{Act, Request, Server};
use world::{World, bytes, file};
