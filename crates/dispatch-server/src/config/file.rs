//! What may be written in a configuration: one struct per section. Every field may be missing; what has to be there, and
//! what goes with what, is looked at when all of it is read. The texts are what editors show and the reference says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::kinds::{
    BootUrlPath, CorsOrigin, FilePath, IdleWord, Landing, List, Listen, Network, PostgresUrl, Secret,
    SecretPath, Several, Size, StorageUrl, Time, UnknownWord, WebUrl, Words,
};
use super::model::{Role, SslMode};

pub(super) use groups::{
    GitHubGroup, Groups, HostEntry, Issues, MetalGroup, MetalTemplate, Source, WorkflowTemplate,
};

#[path = "file_groups.rs"]
mod groups;

macro_rules! section {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        $(#[$meta])*
        pub(in crate::config) struct $name {
            $($(#[$field_meta])* pub(in crate::config) $field: Option<$type>,)*
        }
    )*};
}
pub(super) use section;

section! {
    /// The configuration of `dispatch serve`.
    #[schemars(title = "dispatch.yaml")]
    struct File {
        /// The listener of the API and the dashboard.
        server: Server,
        /// When queues are looked at.
        dispatcher: Dispatcher,
        /// Where the state is kept.
        database: Database,
        /// Who may sign in. By default nobody.
        auth: Auth,
        /// How long finished jobs are kept.
        history: History,
        /// The way to GitHub.
        github: GitHub,
        /// The listener that the firmware of bare-metal servers asks. There is one only if there is a metal group.
        boot: Boot,
        /// Where large things are kept: images, logs, reports.
        storage: Storage,
        /// The folder that reports are written to, one Markdown and one JSON file each. Default: they go into the storage.
        reports: FilePath,
        /// Where fetched images are kept.
        cache: Cache,
        /// From the last report of a run to its end, if its host does not ask before. Default: `2m`.
        grace: Time,
        /// Announce the boot listener by mDNS, by which beacon finds a server that it was not told. Default: `true`.
        mdns: bool,
        /// Trust the authorities in this file (PEM) as well; one file or a list.
        ca_cert: Several<FilePath>,
        /// Pools of targets, each with its own queue.
        groups: Groups,
        /// Servers that are known by name.
        hosts: List<HostEntry>,
    }

    /// The listener of the API and the dashboard.
    struct Server {
        /// Where to listen. Default: `:9090`.
        listen: Listen,
        /// The URL under which people see this service, for links and to tell its own origin from foreign ones.
        public_url: WebUrl,
        /// Other origins whose pages may call the API. `*` has no effect: the dashboard is served by the service itself.
        cors_origins: List<CorsOrigin>,
        /// Speak TLS without a proxy in front.
        tls: Tls,
        /// Proxies whose word on a client's address is believed: addresses or networks.
        trusted_proxies: List<Network>,
        /// How much one client may ask.
        rate_limit: RateLimit,
    }

    /// Speak TLS without a proxy in front.
    #[schemars(extend("required" = ["cert_file", "key_file"]))]
    struct Tls {
        /// The certificate, and those between it and the authority (PEM).
        cert_file: FilePath,
        /// Its private key (PEM).
        key_file: FilePath,
    }

    /// How much one client may ask.
    struct RateLimit {
        /// Whether there is a limit. Default: `true`.
        enabled: bool,
        /// For signing in.
        auth: AuthRate,
        /// For what needs no sign-in.
        public: PublicRate,
        /// For everything else.
        authenticated: AuthenticatedRate,
    }

    /// For signing in.
    struct AuthRate {
        /// Requests a minute. Default: `10`.
        #[schemars(range(min = 1))]
        requests_per_minute: u32,
    }

    /// For what needs no sign-in.
    struct PublicRate {
        /// Requests a minute. Default: `60`.
        #[schemars(range(min = 1))]
        requests_per_minute: u32,
    }

    /// For everything else.
    struct AuthenticatedRate {
        /// Requests a minute. Default: `120`.
        #[schemars(range(min = 1))]
        requests_per_minute: u32,
    }

    /// When queues are looked at.
    struct Dispatcher {
        /// Whether anything is dispatched; jobs wait while it is not. Default: `true`.
        enabled: bool,
        /// How often queues are looked at when nothing has happened. Default: `30s`.
        interval: Time,
        /// How often jobs that run elsewhere are looked at when nothing has happened. Default: `30s`.
        tracking_interval: Time,
    }

    /// Where the state is kept.
    struct Database {
        /// The engine. Default: `sqlite`.
        driver: Driver,
        /// A file; read if the driver is `sqlite`.
        sqlite: Sqlite,
        /// A server; read if the driver is `postgres`.
        postgres: Postgres,
    }

    /// A file; read if the driver is `sqlite`.
    struct Sqlite {
        /// Which file. Default: `dispatch.db`.
        path: FilePath,
    }

    /// A server; read if the driver is `postgres`.
    struct Postgres {
        /// All in one: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, and not together with the parts of it.
        url: PostgresUrl,
        /// The server: a name, an address, or the folder of its socket. Default: `localhost`.
        host: Words,
        /// Its port. Default: `5432`.
        #[schemars(range(min = 1))]
        port: u16,
        /// Who signs in. Default: `dispatch`.
        user: Words,
        /// The password.
        password: Secret,
        /// A file that has the password, or `credential:NAME`.
        password_file: SecretPath,
        /// Which database. Default: `dispatch`.
        database: Words,
        /// How the connection is secured. Default: `prefer`.
        sslmode: SslMode,
        /// The authority that the server's certificate is checked against (PEM).
        ca_cert: FilePath,
        /// How many connections there may be. Default: `10`.
        #[schemars(range(min = 2, max = 1000))]
        max_connections: u32,
        /// How long one statement may take. Default: `30s`.
        statement_timeout: Time,
    }

    /// Who may sign in. By default nobody.
    struct Auth {
        /// How long a sign-in lasts. Default: `24h`.
        session_ttl: Time,
        /// Users with passwords.
        basic: Basic,
        /// The sign-in through GitHub.
        github: GitHubOauth,
    }

    /// Users with passwords.
    struct Basic {
        /// Whether they may sign in. Default: `false`.
        enabled: bool,
        /// Who they are.
        users: List<User>,
    }

    /// A user with a password, which is given or in a file.
    #[schemars(extend("required" = ["username", "role"]))]
    struct User {
        /// The name.
        username: Words,
        /// The password.
        password: Secret,
        /// A file that has the password, or `credential:NAME`.
        password_file: SecretPath,
        /// What the user may do.
        role: Role,
    }

    /// The sign-in through GitHub.
    struct GitHubOauth {
        /// Whether people may sign in so. Default: `false`.
        enabled: bool,
        /// The client ID of the OAuth App.
        client_id: Words,
        /// Its client secret.
        client_secret: Secret,
        /// A file that has the client secret, or `credential:NAME`.
        client_secret_file: SecretPath,
        /// Where people land after they signed in: a path of this service. A foreign origin has no effect.
        redirect_url: Landing,
        /// What members of organizations may do.
        org_role_mapping: BTreeMap<String, Role>,
        /// What single people may do; goes before their organizations.
        user_role_mapping: BTreeMap<String, Role>,
    }

    /// How long finished jobs are kept.
    struct History {
        /// How many days; -1 keeps them for ever. Default: `30`.
        #[schemars(range(min = -1, max = 36500))]
        retention_days: i32,
        /// How often what is older goes. Default: `1h`.
        cleanup_interval: Time,
    }

    /// The way to GitHub.
    struct GitHub {
        /// The root of its API; for GitHub Enterprise `https://HOST/api/v3`. Default: `https://api.github.com`.
        url: WebUrl,
        /// The token to sign in with.
        token: Secret,
        /// A file that has the token, or `credential:NAME`.
        token_file: SecretPath,
        /// Another token for listing runners.
        runners_token: Secret,
        /// A file that has that token, or `credential:NAME`.
        runners_token_file: SecretPath,
        /// Sign in as a GitHub App instead of with a token.
        app: App,
        /// What the signatures of webhooks are made with.
        webhook_secret: Secret,
        /// A file that has the secret of webhooks, or `credential:NAME`.
        webhook_secret_file: SecretPath,
        /// How often runners are looked at. Default: `60s`.
        poll_interval: Time,
        /// How many requests of GitHub's limit are left for others. Default: `100`.
        rate_limit_buffer: u32,
    }

    /// Sign in as a GitHub App instead of with a token.
    #[schemars(extend("required" = ["id", "private_key_file"]))]
    struct App {
        /// The App's ID.
        #[schemars(range(min = 1))]
        id: u64,
        /// The file with its private key (PEM), or `credential:NAME`.
        private_key_file: SecretPath,
    }

    /// The listener that the firmware of bare-metal servers asks. There is one only if there is a metal group.
    struct Boot {
        /// Where to listen; not where the API does. Default: `:8080`.
        listen: Listen,
        /// The path of the boot URL; .efi, .iso and .img may follow it. Default: `/dispatch`.
        path: BootUrlPath,
        /// What becomes of a host that is not listed: it gets no work until it is accepted, gets work at once, or boots
        /// on. Default: `enroll`.
        unknown_hosts: UnknownWord,
        /// What a host without work is told, where its group says nothing else. Default: `next`.
        when_idle: IdleWord,
        /// A folder of signed programs for hosts without work (Secure Boot): what `dispatch stubs export` wrote, signed.
        stubs: FilePath,
    }

    /// Where large things are kept: images, logs, reports.
    struct Storage {
        /// `file:///FOLDER` or `s3://BUCKET/PREFIX`. By default the folder `storage` beside the database.
        url: StorageUrl,
    }

    /// Where fetched images are kept.
    struct Cache {
        /// In which folder. By default the folder `cache` beside the database.
        path: FilePath,
        /// How much may be kept; what was used longest ago goes first. Default: `50GiB`.
        size: Size,
        /// Fetch images ahead, in queue order, and not only when a server asks. Default: `true`.
        prefetch: bool,
    }
}

/// The engine of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Driver {
    /// A file, without any server.
    #[default]
    Sqlite,
    /// A `PostgreSQL` server.
    Postgres,
}
