//! What the store promises, on both engines. Each test is there twice: `sqlite::…` and `postgres::…`.

#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

/// Makes two tests of each function that takes a [`place::Place`].
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::place::Place::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::place::Place::postgres()).await;
            })*
        }
    };
}

mod claim;
mod commits;
mod connecting;
mod filters;
mod lab;
mod listing;
mod long;
mod migrations;
mod place;
mod pooler;
mod queue;
mod races;
mod random;
mod reads;
mod scopes;
mod source;
mod trouble;
mod upgrades;
