//! TCP on which an answer is read even if the request could not be sent whole.
//!
//! A server may refuse a large report after its first bytes (417, 413), answer, and close the connection.
//! Our next write then fails, and ureq would stop there, so that a clear "no" looks like a broken connection
//! and is asked again for hours. RFC 9112 §9.5 wants a client to watch for the answer while it sends; reading
//! it after the failure comes to the same, as the system keeps what has arrived.

use std::fmt;
use std::io;

use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};

/// Connects over plain TCP.
pub(crate) fn connector() -> impl Connector {
    ().chain(TcpConnector::default()).chain(EarlyAnswers)
}

#[derive(Debug)]
struct EarlyAnswers;

impl<In: Transport> Connector<In> for EarlyAnswers {
    type Out = Lenient<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| Lenient { inner, broken: false }))
    }
}

struct Lenient<T> {
    inner: T,
    /// Nothing can be sent any more.
    broken: bool,
}

impl<T> fmt::Debug for Lenient<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Lenient").field("broken", &self.broken).finish_non_exhaustive()
    }
}

impl<T: Transport> Transport for Lenient<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.broken {
            return Ok(());
        }
        match self.inner.transmit_output(amount, timeout) {
            Err(Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.broken = true;
                Ok(())
            }
            other => other,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        !self.broken && self.inner.is_open()
    }
}
