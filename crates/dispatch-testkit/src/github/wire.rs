//! The listeners and connections of the fake: they can be broken at any moment, and be down for a while.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::task::AtomicWaker;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;

/// What breaks a connection.
#[derive(Debug, Default)]
pub(super) struct Cut {
    now: AtomicBool,
    when_sent: AtomicBool,
    waker: AtomicWaker,
}

impl Cut {
    /// Breaks it at once.
    pub(super) fn now(&self) {
        self.now.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Breaks it when all that was written so far is with the kernel.
    pub(super) fn when_sent(&self) {
        self.when_sent.store(true, Ordering::SeqCst);
    }

    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        self.waker.register(context.waker());
        if self.now.load(Ordering::SeqCst) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// How a handler gets at its connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Link(pub(super) Arc<Cut>);

impl Connected<IncomingStream<'_, Door>> for Link {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A connection.
pub(super) struct Wire {
    stream: TcpStream,
    cut: Arc<Cut>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cut.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cut.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cut.check(context)?;
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        if polled.is_ready() && self.cut.when_sent.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// To be up or down from now on, and whom to tell when it is so.
pub(super) type Order = (bool, Sender<io::Result<()>>);

/// A listener that can be down and up again on the same port.
pub(super) struct Door {
    address: SocketAddr,
    listener: Option<TcpListener>,
    /// Keeps the port while it is down: bound, but nobody listens.
    keeper: Option<Socket>,
    orders: UnboundedReceiver<Order>,
    cuts: Vec<Weak<Cut>>,
}

/// A listening socket.
pub(super) fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = bound(address)?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Both the listener and what keeps its port have it, else one of them could not be bound.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Door {
    /// Takes a listening socket over; inside a runtime.
    pub(super) fn new(listener: StdListener, orders: UnboundedReceiver<Order>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let listener = Some(TcpListener::from_std(listener)?);
        Ok(Self { address, listener, keeper: None, orders, cuts: Vec::new() })
    }

    fn obey(&mut self, is_up: bool) -> io::Result<()> {
        if is_up && self.listener.is_none() {
            self.listener = Some(TcpListener::from_std(listen(self.address)?)?);
            self.keeper = None;
        }
        if !is_up && self.listener.take().is_some() {
            self.keeper = Some(bound(self.address)?);
            self.cuts.drain(..).filter_map(|cut| cut.upgrade()).for_each(|cut| cut.now());
        }
        Ok(())
    }

    fn let_in(&mut self, stream: TcpStream) -> (Wire, Link) {
        // What is small goes out at once.
        let _ = stream.set_nodelay(true);
        let cut = Arc::new(Cut::default());
        self.cuts.retain(|cut| cut.strong_count() > 0);
        self.cuts.push(Arc::downgrade(&cut));
        (Wire { stream, cut: Arc::clone(&cut) }, Link(cut))
    }
}

impl Listener for Door {
    type Io = Wire;
    type Addr = Link;

    async fn accept(&mut self) -> (Wire, Link) {
        loop {
            let accepted = async {
                match &self.listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                accepted = accepted => {
                    // A connection that broke before it was taken concerns nobody.
                    if let Ok((stream, _)) = accepted {
                        return self.let_in(stream);
                    }
                }
                order = self.orders.recv() => match order {
                    Some((is_up, done)) => {
                        let _ = done.send(self.obey(is_up));
                    }
                    // The fake is gone.
                    None => std::future::pending().await,
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Link> {
        Ok(Link::default())
    }
}
