//! Databases, people, GitHub: the sections with secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use url::Url;

use super::{Context, Once};
use crate::config::file::{self, Driver};
use crate::config::kinds::{Landing, LandingPlace, List, WebUrl};
use crate::config::model::{
    App, Auth, BasicUser, Connection, Database, GitHub, GitHubOauth, Parts, Postgres, Role, SslMode,
};
use crate::config::tree::Key;

/// Passwords that stand in everybody's examples.
const EXAMPLES: [&str; 4] = ["changeme", "password", "admin", "secret"];

pub(super) fn database(context: &mut Context<'_>, key: &Key, database: file::Database) -> Option<Database> {
    match database.driver.unwrap_or_default() {
        Driver::Sqlite => {
            let path = database.sqlite.and_then(|sqlite| sqlite.path);
            let path = context.path(path.as_ref().map_or("dispatch.db", |path| &path.0));
            Some(Database::Sqlite { path })
        }
        Driver::Postgres => {
            let key = key.at("postgres");
            if !context.is_written(&key) {
                context.mistake(
                    &key,
                    "the driver is `postgres`, and nothing says where it is: give this section",
                );
            }
            postgres(context, &key, database.postgres.unwrap_or_default())
        }
    }
}

fn postgres(context: &mut Context<'_>, key: &Key, postgres: file::Postgres) -> Option<Database> {
    let is_url = context.is_written(&key.at("url"));
    let parts = ["host", "port", "user", "password", "password_file", "database"];
    for name in parts.into_iter().filter(|_| is_url) {
        if context.is_written(&key.at(name)) {
            context.mistake(
                &key.at(name),
                format!("`url` says it as well: leave out one of `url` and `{name}`"),
            );
        }
    }
    let connection = if is_url {
        Connection::Url(postgres.url?.0)
    } else {
        let password = context.secret(key, "password", postgres.password, postgres.password_file);
        Connection::Parts(Parts {
            host: postgres.host.map_or_else(|| "localhost".to_owned(), |host| host.0),
            port: postgres.port.unwrap_or(5432),
            user: postgres.user.map_or_else(|| "dispatch".to_owned(), |user| user.0),
            password,
            database: postgres.database.map_or_else(|| "dispatch".to_owned(), |name| name.0),
        })
    };
    let sslmode = postgres.sslmode.or((!is_url).then_some(SslMode::Prefer));
    let ca_cert = postgres.ca_cert.map(|path| context.path(&path.0));
    if ca_cert.is_some() && !is_url && !matches!(sslmode, Some(SslMode::VerifyCa | SslMode::VerifyFull)) {
        let what = "no certificate is checked with this `sslmode`: write verify-ca or verify-full";
        context.warning(&key.at("ca_cert"), what);
    }
    Some(Database::Postgres(Box::new(Postgres {
        connection,
        sslmode,
        ca_cert,
        max_connections: postgres.max_connections.unwrap_or(10),
        statement_timeout: postgres.statement_timeout.map_or(Duration::from_secs(30), |time| time.0),
    })))
}

pub(super) fn auth(context: &mut Context<'_>, key: &Key, auth: file::Auth, own: Option<&Url>) -> Auth {
    let basic = auth.basic.unwrap_or_default();
    let users = users(context, &key.at("basic"), basic);
    let github = auth.github.filter(|github| github.enabled == Some(true));
    Auth {
        session_ttl: auth.session_ttl.map_or(Duration::from_hours(24), |time| time.0),
        users,
        github: github.and_then(|github| oauth(context, &key.at("github"), github, own)),
    }
}

fn users(context: &mut Context<'_>, key: &Key, basic: file::Basic) -> Vec<BasicUser> {
    let (mut users, mut names) = (Vec::new(), Once::new());
    let is_enabled = basic.enabled == Some(true);
    if !is_enabled {
        if basic.users.is_some_and(|users| !users.0.is_empty()) {
            context.warning(key, "its users cannot sign in, as it is not enabled: write `enabled: true`");
        }
        return users;
    }
    for (index, user) in basic.users.into_iter().flat_map(List::into_items) {
        let key = key.at("users").nth(index);
        let password = context.required_secret(&key, "password", user.password, user.password_file);
        if let Some(name) = &user.username {
            names.check(context, &key.at("username"), &name.0, "the user name");
        }
        if password.as_ref().is_some_and(|password| EXAMPLES.contains(&password.expose_secret())) {
            let what = "this password stands in examples, and everybody knows it: choose another";
            context.warning(&key.at("password"), what);
        }
        if let (Some(username), Some(password), Some(role)) = (user.username, password, user.role) {
            users.push(BasicUser { username: username.0, password, role });
        }
    }
    if users.is_empty() && !context.is_written(&key.at("users")) {
        context.warning(key, "it is enabled, and there are no `users`");
    }
    users
}

fn oauth(
    context: &mut Context<'_>,
    key: &Key,
    github: file::GitHubOauth,
    own: Option<&Url>,
) -> Option<GitHubOauth> {
    if !context.is_written(&key.at("client_id")) {
        context.mistake(key, "the key `client_id` is missing: give it, or write `enabled: false`");
    }
    let secret =
        context.required_secret(key, "client_secret", github.client_secret, github.client_secret_file);
    let org_role_mapping = lower(context, &key.at("org_role_mapping"), github.org_role_mapping);
    let user_role_mapping = lower(context, &key.at("user_role_mapping"), github.user_role_mapping);
    if org_role_mapping.is_empty() && user_role_mapping.is_empty() {
        context.warning(
            key,
            "nobody has a role: name organizations or users in `org_role_mapping` or `user_role_mapping`",
        );
    }
    let landing = landing(context, key, github.redirect_url, own);
    Some(GitHubOauth {
        client_id: github.client_id?.0,
        client_secret: secret?,
        landing,
        org_role_mapping,
        user_role_mapping,
    })
}

/// Where people land: always on our own origin, wherever the file would send them.
fn landing(context: &mut Context<'_>, above: &Key, written: Option<Landing>, own: Option<&Url>) -> String {
    match written {
        Some(Landing(LandingPlace::Url(url))) if own.is_some_and(|own| own.origin() == url.origin()) => {
            url[url::Position::BeforePath..].to_owned()
        }
        Some(Landing(LandingPlace::Url(_))) => {
            let what = "this is a foreign origin, and has no effect: people land on the dashboard of this service; if it is \
                        this one, say so with `server.public_url`";
            context.warning(&above.at("redirect_url"), what);
            "/".to_owned()
        }
        Some(Landing(LandingPlace::Path(path))) => path,
        None => "/".to_owned(),
    }
}

/// Names in lower case: GitHub does not tell the case apart.
fn lower(
    context: &mut Context<'_>,
    key: &Key,
    names: Option<BTreeMap<String, Role>>,
) -> BTreeMap<String, Role> {
    let mut lower = BTreeMap::new();
    for (name, role) in names.into_iter().flatten() {
        if lower.insert(name.to_lowercase(), role).is_some() {
            context.mistake(
                &key.at(&name),
                "GitHub takes upper and lower case for the same: give the name once",
            );
        }
    }
    lower
}

pub(super) fn github(context: &mut Context<'_>, key: &Key, github: file::GitHub) -> Option<GitHub> {
    let token = context.secret(key, "token", github.token, github.token_file);
    let runners_token = context.secret(key, "runners_token", github.runners_token, github.runners_token_file);
    let webhook_secret =
        context.secret(key, "webhook_secret", github.webhook_secret, github.webhook_secret_file);
    let has_token = ["token", "token_file"].into_iter().any(|name| context.is_written(&key.at(name)));
    if has_token && context.is_written(&key.at("app")) {
        context.mistake(
            &key.at("app"),
            "there is a token as well: sign in with a token or as an App, not with both",
        );
    }
    let app = github.app.and_then(|app| app.id.zip(app.private_key_file));
    let app = app.and_then(|(id, file)| {
        let private_key = context.secret(&key.at("app"), "private_key", None, Some(file))?;
        Some(App { id, private_key })
    });
    let api = match github.url {
        None => dispatch_github::api_root("https://api.github.com"),
        Some(WebUrl(url)) => dispatch_github::api_root(url.as_str()),
    };
    if api.is_err() {
        let what =
            "this cannot be the root of GitHub's API: write https://HOST/api/v3, without anything behind it";
        context.mistake(&key.at("url"), what);
    }
    Some(GitHub {
        api: api.ok()?,
        token,
        runners_token,
        app,
        webhook_secret,
        poll_interval: github.poll_interval.map_or(Duration::from_mins(1), |time| time.0),
        rate_limit_buffer: github.rate_limit_buffer.unwrap_or(100),
    })
}
