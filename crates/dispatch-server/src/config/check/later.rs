//! What may be written, and is not done yet: it is told, so that nobody relies on it.

use super::Context;
use crate::config::model::Configuration;
use crate::config::tree::Key;

/// Keys without effect, and what is done instead.
const LATER: [(&[&str], &str); 10] = [
    (&["history", "retention_days"], "everything is kept"),
    (&["history", "cleanup_interval"], "everything is kept"),
    (&["dispatcher", "interval"], "only groups of runners will need it"),
    (&["dispatcher", "tracking_interval"], "only groups of runners will need it"),
    (&["github", "poll_interval"], "only groups of runners will need it"),
    (&["github", "rate_limit_buffer"], "only groups of runners will need it"),
    (&["github", "runners_token"], "only groups of runners will need it"),
    (&["github", "runners_token_file"], "only groups of runners will need it"),
    (&["github", "webhook_secret"], "webhooks are not taken"),
    (&["github", "webhook_secret_file"], "webhooks are not taken"),
];

/// Warns of every key that is written and has no effect.
pub(super) fn not_yet(context: &mut Context<'_>, configuration: &Configuration) {
    for (path, instead) in LATER {
        let key = path.iter().fold(Key::default(), |key, name| key.at(name));
        if context.is_written(&key) {
            context.warning(&key, format!("this has no effect yet: {instead}"));
        }
    }
    let top = Key::default();
    if configuration.auth.github.is_some() {
        let what = "this has no effect yet: nobody can sign in through GitHub, so give users in `auth.basic`";
        context.warning(&top.at("auth").at("github"), what);
    }
    if !configuration.server.cors_origins.is_empty() {
        let what = "this has no effect yet: pages of other origins may not call the API";
        context.warning(&top.at("server").at("cors_origins"), what);
    }
}
