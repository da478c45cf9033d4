//! A pooler in transaction mode, as `PgBouncer` is one: between two transactions, whoever is connected has no session of
//! the server, and gets the one that was used last for the next.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Runs until it is dropped.
pub(crate) struct Pooler {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    server: u16,
    is_sharing: AtomicBool,
    /// Sessions of the server that nobody uses, the last one that was used first.
    idle: Mutex<VecDeque<TcpStream>>,
}

impl Pooler {
    pub(crate) async fn start(server: u16, is_sharing: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared =
            Arc::new(Shared { server, is_sharing: AtomicBool::new(is_sharing), idle: Mutex::default() });
        let (mut tasks, theirs) = (JoinSet::new(), Arc::clone(&shared));
        tasks.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&theirs);
                // A client that leaves ends with an error.
                clients.spawn(async move { drop(shared.serve(client).await) });
            }
        });
        Self { port, shared, _tasks: tasks }
    }

    /// From now on, sessions are shared.
    pub(crate) fn share(&self) {
        self.shared.is_sharing.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut own = TcpStream::connect(("127.0.0.1", self.server)).await?;
        let startup = body(&mut client).await?;
        own.write_all(&startup).await?;
        loop {
            let (tag, message) = message(&mut own).await?;
            client.write_all(&message).await?;
            // Of the requests for a password, these are answered.
            let is_asked = tag == b'R' && matches!(message[8], 3 | 5 | 10 | 11);
            if is_asked {
                let (_, answer) = self::message(&mut client).await?;
                own.write_all(&answer).await?;
            }
            if tag == b'Z' {
                break;
            }
        }
        let (mut session, mut is_between) = (Some(own), true);
        if self.is_sharing.load(Ordering::SeqCst) {
            self.idle().extend(session.take());
        }
        loop {
            let (tag, message) = message(&mut client).await?;
            if tag == b'X' {
                return Ok(());
            }
            let is_sharing = self.is_sharing.load(Ordering::SeqCst);
            if is_sharing && is_between {
                self.idle().extend(session.take());
                session = self.idle().pop_front();
            }
            let used = session.as_mut().ok_or(io::ErrorKind::ResourceBusy)?;
            used.write_all(&message).await?;
            is_between = false;
            if matches!(tag, b'Q' | b'S') {
                is_between = answered(used, &mut client).await?;
            }
            if is_between
                && is_sharing
                && let Some(used) = session.take()
            {
                self.idle().push_front(used);
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<TcpStream>> {
        self.idle.lock().expect("no panic")
    }
}

/// Passes on an answer; says whether no transaction is open after it.
async fn answered(server: &mut TcpStream, client: &mut TcpStream) -> io::Result<bool> {
    loop {
        let (tag, message) = message(server).await?;
        client.write_all(&message).await?;
        if tag == b'Z' {
            return Ok(message[5] == b'I');
        }
    }
}

/// One message, with its tag and length.
async fn message(from: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let tag = from.read_u8().await?;
    let mut whole = vec![tag];
    whole.extend(body(from).await?);
    Ok((tag, whole))
}

/// A length and what has it.
async fn body(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut whole = length.to_be_bytes().to_vec();
    whole.resize(usize::try_from(length).expect("a length"), 0);
    from.read_exact(&mut whole[4..]).await?;
    Ok(whole)
}
