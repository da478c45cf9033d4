//! Loops that compare what is with what should be. None takes input: each looks at the store, does what is to be
//! done, and waits until there may be more.

mod deadlines;
mod ending;
mod hook;
mod issues;
mod outbox;
mod sink;
mod story;
mod watch;

pub use deadlines::Deadlines;
pub use ending::Ending;
pub use hook::Hook;
pub use issues::Issues;
pub use outbox::Outbox;
pub use sink::{ReportSink, SinkError};
pub use story::Story;
pub use watch::Watch;
