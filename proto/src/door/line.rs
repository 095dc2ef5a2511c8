//! Connections as they are accepted.
//!
//! A gRPC server has its own address, which speaks TLS or does not. HTTP/1.1 shares its address with probes and scrapers, who
//! have no certificates: there a connection's first byte says which of the two it is.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

pub(super) use super::seats::Call;
use super::{Door, seats::Seat, seldom::Seldom};

/// How long accepting rests when the system has no more connections to give.
const REST: Duration = Duration::from_millis(50);

/// An accepted connection with a seat.
pub struct Line {
    bytes: Bytes,
    seat: Arc<Seat>,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
}

enum Bytes {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The first byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// The connection of a call, among the call's extensions.
#[derive(Clone)]
pub struct LineInfo {
    seat: Arc<Seat>,
    is_encrypted: bool,
}

impl LineInfo {
    /// Where the caller is.
    pub fn peer(&self) -> SocketAddr {
        self.seat.peer
    }

    /// Whether nobody on the way can read along.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    pub(super) fn address(&self) -> std::net::IpAddr {
        self.seat.address()
    }

    pub(super) fn call(&self, known: bool) -> Call {
        self.seat.call(known)
    }
}

impl Line {
    /// What calls over it are told of it.
    pub fn info(&self) -> LineInfo {
        LineInfo { seat: self.seat.clone(), is_encrypted: matches!(self.bytes, Bytes::Tls(_)) }
    }
}

impl Door {
    /// The connections that come to `listener`, as long as they are asked for.
    pub fn incoming(&self, listener: TcpListener) -> ReceiverStream<io::Result<Line>> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.clone().accept(listener, sender));
        ReceiverStream::new(receiver)
    }

    async fn accept(self, listener: TcpListener, lines: mpsc::Sender<io::Result<Line>>) {
        let (full, failed, refused) = (Seldom::default(), Seldom::default(), Arc::new(Seldom::default()));
        let accept_all = async {
            loop {
                let (stream, peer) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        if let Some(more) = failed.now() {
                            tracing::warn!(%error, more, "cannot accept a connection");
                        }
                        tokio::time::sleep(REST).await;
                        continue;
                    }
                };
                let Some(seat) = self.seats.take(peer) else {
                    if let Some(more) = full.now() {
                        let connections = self.seats.limits.connections;
                        tracing::warn!(%peer, connections, more, "refused a connection: all are in use");
                    }
                    continue;
                };
                let (door, lines, refused) = (self.clone(), lines.clone(), refused.clone());
                tokio::spawn(async move {
                    let tls = door.tls.load().as_ref().map(|tls| tls.grpc.clone());
                    match shake_hands(stream, seat, tls).await {
                        // Nobody asks for lines any more when the server stops.
                        Ok(line) => drop(lines.send(Ok(line)).await),
                        Err(error) => {
                            if let Some(more) = refused.now() {
                                tracing::warn!(%peer, %error, more, "refused a connection");
                            }
                        }
                    }
                });
            }
        };
        tokio::select! {
            () = accept_all => {}
            () = self.seats.watch() => {}
            () = lines.closed() => {}
        }
    }

    /// Seats a connection for HTTP/1.1 that was accepted elsewhere; who waits for the future gets the line.
    ///
    /// # Errors
    /// Gives the connection back if there is no seat.
    pub fn seat(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<impl Future<Output = io::Result<Line>> + Send + use<>, TcpStream> {
        let Some(seat) = self.seats.take(peer) else { return Err(stream) };
        let tls = self.tls.load().as_ref().map(|tls| tls.http.clone());
        Ok(async move {
            let tls = match tls {
                None => None,
                Some(config) => {
                    let mut first = [0];
                    let Some(peeked) = seat.close.run_until_cancelled(stream.peek(&mut first)).await else {
                        return Err(late());
                    };
                    (peeked? == 1 && first[0] == TLS_HANDSHAKE).then_some(config)
                }
            };
            shake_hands(stream, seat, tls).await
        })
    }
}

async fn shake_hands(stream: TcpStream, seat: Seat, tls: Option<Arc<ServerConfig>>) -> io::Result<Line> {
    // Only delays small messages if it cannot be had.
    let _ = stream.set_nodelay(true);
    let bytes = match tls {
        None => Bytes::Plain(stream),
        Some(config) => {
            let shaken = TlsAcceptor::from(config).accept(stream);
            let Some(shaken) = seat.close.run_until_cancelled(shaken).await else { return Err(late()) };
            Bytes::Tls(Box::new(shaken?))
        }
    };
    let closed = Box::pin(seat.close.clone().cancelled_owned());
    Ok(Line { bytes, seat: Arc::new(seat), closed })
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "closed: nobody called over it for too long")
}

impl Connected for Line {
    type ConnectInfo = LineInfo;

    fn connect_info(&self) -> LineInfo {
        self.info()
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(late()));
        }
        let before = into.filled().len();
        let read = match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Bytes::Tls(stream) => Pin::new(stream).poll_read(context, into),
        };
        if into.filled().len() > before {
            self.seat.speak();
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(late()));
        }
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Bytes::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_flush(context),
            Bytes::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Bytes::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(late()));
        }
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Bytes::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(stream) => stream.is_write_vectored(),
            Bytes::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
