//! PostgreSQL: how to get there, what can go wrong on the way, and how the events of other processes are noticed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AnyConnection, AnyPool, Executor as _, Row as _};
use tokio::sync::watch;
use url::Url;

/// How long it may take until a server answers.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);

/// How often we look for events of other processes, however few of their hints arrive.
const POLL: Duration = Duration::from_secs(1);

/// Where the hint of a new event goes.
const CHANNEL: &str = "dispatch_event";

/// After this long between two statements of a transaction the server ends it: whoever began it is gone, without the
/// server having been told, and everybody else waits for it.
const ABANDONED: Duration = Duration::from_secs(30);

/// Whether and how a connection is encrypted. The words and meanings are libpq's ("SSL Support", table 34.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server can; whoever it is.
    #[default]
    Prefer,
    /// Always; whoever the server is, unless `ca_cert` says who vouches for it.
    Require,
    /// Always, and somebody who is trusted vouches for the server.
    VerifyCa,
    /// The same, and it is the host that was asked for.
    VerifyFull,
}

impl SslMode {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SslMode {
    type Err = PostgresError;

    fn from_str(text: &str) -> Result<Self, PostgresError> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| PostgresError::SslMode { value: text.to_owned() })
    }
}

/// A database on a PostgreSQL server, and how to get there.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// The server's name or address, or the folder of its socket, which begins with `/`.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are there.
    pub user: String,
    /// The password; without one `~/.pgpass` is asked, and the server may not want any.
    pub password: Option<SecretString>,
    /// The database, which is there already.
    pub database: String,
    /// Whether and how the connection is encrypted.
    pub sslmode: SslMode,
    /// A file of certificates (PEM) of who may vouch for the server, beside those that this machine trusts.
    pub ca_cert: Option<PathBuf>,
    /// How many connections there may be at once; four at least.
    pub max_connections: u32,
    /// After how long a statement is given up.
    pub statement_timeout: Duration,
}

impl Default for Postgres {
    /// The server on this machine.
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 5432,
            user: "dispatch".to_owned(),
            password: None,
            database: "dispatch".to_owned(),
            sslmode: SslMode::default(),
            ca_cert: None,
            max_connections: 10,
            statement_timeout: Duration::from_secs(30),
        }
    }
}

impl Postgres {
    /// From a connection URI as libpq takes it: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…&sslrootcert=…`;
    /// `host`, `port`, `user`, `password` and `dbname` may also be in the query.
    pub fn from_url(url: &str) -> Result<Self, PostgresError> {
        let bad = |why: &str| PostgresError::Url { why: why.to_owned() };
        let url = Url::parse(url).map_err(|error| bad(&error.to_string()))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(bad("it does not begin with postgres://"));
        }
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(std::borrow::Cow::into_owned).map_err(|_| bad("it is not valid UTF-8"))
        };
        let mut there = Self::default();
        if let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
            there.host = decoded(host.trim_start_matches('[').trim_end_matches(']'))?;
        }
        there.port = url.port().unwrap_or(there.port);
        if !url.username().is_empty() {
            there.user = decoded(url.username())?;
            // As with libpq, unless it says otherwise.
            there.database.clone_from(&there.user);
        }
        if let Some(password) = url.password() {
            there.password = Some(decoded(password)?.into());
        }
        let path = url.path().trim_start_matches('/');
        if !path.is_empty() {
            there.database = decoded(path)?;
        }
        for (key, value) in url.query_pairs() {
            match &*key {
                "host" => there.host = value.into_owned(),
                "port" => there.port = value.parse().map_err(|_| bad("its port is no number"))?,
                "user" => there.user = value.into_owned(),
                "password" => there.password = Some(value.into_owned().into()),
                "dbname" => there.database = value.into_owned(),
                "sslmode" => there.sslmode = value.parse()?,
                "sslrootcert" => there.ca_cert = Some(value.into_owned().into()),
                other => return Err(bad(&format!("its parameter `{other}` is not known here"))),
            }
        }
        Ok(there)
    }

    /// Where it is, for people.
    #[must_use]
    pub fn address(&self) -> String {
        if self.is_local() {
            format!("{} (port {})", self.host, self.port)
        } else if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn is_local(&self) -> bool {
        self.host.starts_with('/')
    }

    /// As the library wants it. Never shown: it has the password.
    pub(crate) fn url(&self) -> SecretString {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("host", &self.host).append_pair("port", &self.port.to_string());
        query.append_pair("user", &self.user).append_pair("dbname", &self.database);
        if let Some(password) = &self.password {
            query.append_pair("password", password.expose_secret());
        }
        let sslmode = match self.sslmode {
            // Nobody listens in on a socket of this machine.
            _ if self.is_local() => SslMode::Disable,
            SslMode::Require if self.ca_cert.is_some() => SslMode::VerifyCa,
            mode => mode,
        };
        query.append_pair("sslmode", sslmode.as_str()).append_pair("application_name", "dispatch");
        if let Some(file) = &self.ca_cert {
            query.append_pair("sslrootcert", &file.to_string_lossy());
        }
        format!("postgres://localhost/?{}", query.finish()).into()
    }

    /// What a fresh connection is told.
    pub(crate) fn set_up(&self) -> Vec<String> {
        vec![
            format!("SET statement_timeout = {}", self.statement_timeout.as_millis()),
            format!("SET idle_in_transaction_session_timeout = {}", ABANDONED.as_millis()),
            // A report that was answered with 200 survives a power cut.
            "SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'"
                .to_owned(),
        ]
    }

    /// Why there is no connection.
    pub(crate) fn not_connected(&self, error: sqlx::Error) -> PostgresError {
        let (address, user) = (self.address(), self.user.clone());
        let database = self.database.clone();
        let why = error.to_string();
        let tls = |why| PostgresError::Tls { address: self.address(), sslmode: self.sslmode, why };
        match error {
            sqlx::Error::Tls(error) => tls(error.to_string()),
            // So says the TLS library of a certificate that it does not take.
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                tls(error.to_string())
            }
            sqlx::Error::Io(error) => PostgresError::Unreachable { address, why: error.to_string() },
            sqlx::Error::Database(error) => {
                let why = error.message().to_owned();
                match error.code().as_deref() {
                    Some("28P01") => PostgresError::Password { address, user },
                    Some("28000") => PostgresError::Refused { address, user, why },
                    Some("3D000") => PostgresError::NoDatabase { address, user, database },
                    Some("42501") => PostgresError::Denied { address, user, database, why },
                    _ => PostgresError::NotNow { address, why },
                }
            }
            _ => PostgresError::Unreachable { address, why },
        }
    }
}

/// Why a PostgreSQL database cannot be used. No message has the password.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The URL cannot be read. It is not repeated, because it may hold the password.
    #[error(
        "the database's url cannot be used: {why}; write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with what is no \
         letter or digit of the password as %XX"
    )]
    Url {
        /// Why.
        why: String,
    },
    /// A word that is no mode.
    #[error("sslmode `{value}` is not known: write disable, prefer, require, verify-ca or verify-full")]
    SslMode {
        /// The word.
        value: String,
    },
    /// Nobody answers.
    #[error(
        "no PostgreSQL answers at {address} ({why}): check that it runs and listens there, and host and port"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        why: String,
    },
    /// Too many connections, or it starts, or it ends.
    #[error("PostgreSQL at {address} takes no connection now: {why}; try again")]
    NotNow {
        /// Where.
        address: String,
        /// Why.
        why: String,
    },
    /// The wrong user or password.
    #[error("PostgreSQL at {address} does not take the password of user `{user}`: check user and password")]
    Password {
        /// Where.
        address: String,
        /// Who.
        user: String,
    },
    /// The server lets this user not in from here.
    #[error(
        "PostgreSQL at {address} does not let user `{user}` in: {why}; check the user, sslmode, and the server's pg_hba.conf"
    )]
    Refused {
        /// Where.
        address: String,
        /// Who.
        user: String,
        /// The server's reason.
        why: String,
    },
    /// There is no such database.
    #[error(
        "PostgreSQL at {address} has no database `{database}`: make it there with `createdb -O {user} {database}`, or \
         name another"
    )]
    NoDatabase {
        /// Where.
        address: String,
        /// Who.
        user: String,
        /// Which.
        database: String,
    },
    /// The user may not do what we need.
    #[error(
        "user `{user}` may not use the database `{database}` at {address}: {why}; make it the owner: ALTER DATABASE \
         {database} OWNER TO {user}"
    )]
    Denied {
        /// Where.
        address: String,
        /// Who.
        user: String,
        /// Which.
        database: String,
        /// The server's reason.
        why: String,
    },
    /// There is no such encryption.
    #[error(
        "the TLS connection to PostgreSQL at {address} was refused: {why}; check sslmode (it is {sslmode}) and ca_cert"
    )]
    Tls {
        /// Where.
        address: String,
        /// What we insist on.
        sslmode: SslMode,
        /// Why.
        why: String,
    },
}

/// Whether a connection that was given back is alive, and in no transaction. Who no longer waits for a transaction that
/// begins leaves it behind without the library noticing, and what the next one does would never be committed.
///
/// Outside of a transaction the statement is one, and both times are the same. As one message of the simple protocol:
/// the extended one has several, each with a time of its own.
pub(crate) async fn is_idle(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let look = "SELECT CASE WHEN now() = statement_timestamp() THEN 1 ELSE 0 END AS idle";
    let idle: i32 = connection.fetch_one(look).await?.try_get("idle")?;
    Ok(idle == 1)
}

/// The statement that tells other processes of a new event, if it is committed.
pub(crate) fn hint(seq: i64) -> String {
    format!("NOTIFY {CHANNEL}, '{seq}'")
}

/// Keeps `last` at the newest event, whichever process it is from, until the pool is closed.
pub(crate) async fn follow(there: Postgres, readers: AnyPool, last: watch::Sender<i64>) {
    let mut listener = None;
    loop {
        if listener.is_none() {
            listener = listen(&there).await.ok();
        }
        // Also what came while nobody listened. What fails is tried again: whoever reads the events is told.
        match newest(&readers).await {
            Ok(seq) => advance(&last, seq),
            Err(sqlx::Error::PoolClosed) => return,
            Err(_) => {}
        }
        let is_gone = match &mut listener {
            Some(listener) => {
                tokio::time::timeout(POLL, hinted(listener, &last)).await.is_ok_and(|got| got.is_err())
            }
            None => true,
        };
        if is_gone {
            listener = None;
            tokio::time::sleep(POLL).await;
        }
    }
}

async fn listen(there: &Postgres) -> Result<PgListener, sqlx::Error> {
    let options: PgConnectOptions = there.url().expose_secret().parse()?;
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT).connect_with(options).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Waits for the hint of an event that is not known yet, or for anything else that makes it worth to look.
async fn hinted(listener: &mut PgListener, last: &watch::Sender<i64>) -> Result<(), sqlx::Error> {
    while let Some(hint) = listener.try_recv().await? {
        if hint.payload().parse().map_or(true, |seq: i64| seq > *last.borrow()) {
            return Ok(());
        }
    }
    // The connection was lost, and is there again.
    Ok(())
}

async fn newest(readers: &AnyPool) -> Result<i64, sqlx::Error> {
    let row = sqlx::query("SELECT value FROM counters WHERE name = 'event'").fetch_one(readers).await?;
    row.try_get("value")
}

/// Never back: who commits first need not be who tells of it first.
pub(crate) fn advance(last: &watch::Sender<i64>, seq: i64) {
    last.send_if_modified(|known| {
        let is_newer = seq > *known;
        if is_newer {
            *known = seq;
        }
        is_newer
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_everything() {
        let url = "postgresql://me:p%40ss%2Fw%20rd@db.example:6543/queue?sslmode=verify-full&sslrootcert=/etc/ca.pem";
        let there = Postgres::from_url(url).unwrap();
        assert_eq!((there.address(), there.user.as_str()), ("db.example:6543".to_owned(), "me"));
        assert_eq!(there.password.as_ref().unwrap().expose_secret(), "p@ss/w rd");
        assert_eq!((there.database.as_str(), there.sslmode), ("queue", SslMode::VerifyFull));
        assert_eq!(there.ca_cert, Some(PathBuf::from("/etc/ca.pem")));
    }

    #[test]
    fn a_url_may_leave_out_what_is_usual() {
        let there = Postgres::from_url("postgres://me@[::1]").unwrap();
        assert_eq!((there.address(), there.database.as_str()), ("[::1]:5432".to_owned(), "me"));
        let there = Postgres::from_url("postgres:///queue?host=/run/postgresql&user=you").unwrap();
        assert_eq!((there.address(), there.user.as_str()), ("/run/postgresql (port 5432)".to_owned(), "you"));
    }

    #[test]
    fn a_bad_url_is_refused_without_being_repeated() {
        for url in [
            "mysql://u:hush@h/d",
            "postgres://u:hush@h:many/d",
            "postgres://u:hush@h/d?sslmode=sometimes",
            "postgres://u:hush@h/d?port=hush",
            "postgres://u:hush@h/d?channel_binding=require",
            "hush",
        ] {
            let error = Postgres::from_url(url).unwrap_err().to_string();
            assert!(!error.contains("hush") && error.contains("write"), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_shown_with_the_rest() {
        let there = Postgres { password: Some("hush".into()), ..Postgres::default() };
        assert!(!format!("{there:?} {:?}", there.url()).contains("hush"));
    }

    #[test]
    fn whoever_names_who_vouches_for_the_server_wants_that_checked() {
        let mode = |there: &Postgres| {
            let url = Url::parse(there.url().expose_secret()).unwrap();
            url.query_pairs().find(|(key, _)| key == "sslmode").unwrap().1.into_owned()
        };
        let mut there = Postgres { sslmode: SslMode::Require, ..Postgres::default() };
        assert_eq!(mode(&there), "require");
        there.ca_cert = Some("ca.pem".into());
        assert_eq!(mode(&there), "verify-ca");
        there.host = "/run/postgresql".to_owned();
        assert_eq!(mode(&there), "disable");
    }
}
